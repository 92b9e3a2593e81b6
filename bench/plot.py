# SPDX-License-Identifier: MIT
"""The plot of docs/performance.md, drawn by gnuplot from what goes into JSON."""

import shutil
import subprocess

from workloads import THROUGHPUT

WIDTH, HEIGHT = 1000, 380  # of a panel
COLOURS = {  # memwatch in greens
    "memwatch": "#0b6e4f", "memwatch counters": "#6fb98f", "memwatch exact": "#2e2a5d",
    "memwatch/jemalloc": "#0b6e4f", "memwatch/tcmalloc": "#3f9b76", "memwatch/mimalloc": "#8fcbb0",
    "forward": "#b8bec7", "libmemusage": "#edae49", "jemalloc prof": "#d1495b", "tcmalloc sampling": "#30638e",
    "heaptrack raw": "#c9a0dc", "heaptrack": "#66438f", "jemalloc prof 0": "#d1495b", "tcmalloc HEAPPROFILE": "#30638e",
    "massif": "#edae49", "DHAT": "#8d96a3"}
MARKS = (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.1, 1.2, 1.3, 1.5, 2, 3, 5, 10, 20, 50, 100, 200, 500)
MARKS_OF_A_WIDE_AXIS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500)
PANELS = (  # experiment, its sections, title, contenders
    ("peers", slice(0, 1), "Left on in production", ("memwatch", "libmemusage", "jemalloc prof", "tcmalloc sampling")),
    ("peers", slice(1, 3), "Every block with its stack", ("memwatch exact", "heaptrack raw", "heaptrack", "jemalloc prof 0",
                                               "tcmalloc HEAPPROFILE", "massif", "DHAT")),
    ("micro", slice(0, 1), "The malloc path", ("forward", "memwatch", "memwatch counters", "memwatch exact")),
    ("real", slice(0, 1), "Real programs", ("memwatch", "memwatch counters", "memwatch exact")),
    ("above", slice(0, 1), "Watched, above a faster allocator", ("memwatch/jemalloc", "memwatch/tcmalloc", "memwatch/mimalloc",
                                                      "jemalloc prof", "tcmalloc sampling")),
)


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', "'") + '"'


def cost(row):
    """Time as a ratio to the plain program's, low and high; of a throughput its inverse."""
    values = row["ratio"]
    if row["metric"] == THROUGHPUT:
        return 1 / values["median"], 1 / values["max"], 1 / values["min"]
    return values["median"], values["min"], values["max"]


def panels_of(report):
    """(title, contenders, workloads, figures by contender and workload) of what was measured."""
    for experiment, which, title, wanted in PANELS:
        sections = report["experiments"].get(experiment, [])[which]
        rows = [r for section in sections for r in section["rows"] if not r["failure"]]
        figures = {(r["contender"], r["workload"]): cost(r) for r in rows}
        there = [name for name in wanted if any(key[0] == name for key in figures)]
        if there:
            yield title, there, list(dict.fromkeys(r["workload"] for r in rows)), figures


def block(panel_number, names, workloads, figures):
    """A bar a line: its place, from 1 to the figure, and the least and the greatest. A block a contender."""
    width = 0.8 / len(names)
    series = []
    for k, name in enumerate(names):
        lines = []
        for place, workload in enumerate(workloads):
            if (name, workload) in figures:
                left = place - 0.4 + k * width
                middle, low, high = figures[name, workload]
                numbers = (left + width / 2, middle, left, left + width * 0.92, low, high)
                lines.append(" ".join(f"{number:.4f}" for number in numbers))
        series.append("\n".join(lines))
    return f"$panel{panel_number} << END\n" + "\n\n\n".join(series) + "\nEND\n"


def panel(number, title, names, workloads, figures):
    used = [figures[n, w] for n in names for w in workloads if (n, w) in figures]
    low, high = min(0.9, *(f[1] * 0.9 for f in used)), max(1.2, *(f[2] * 1.1 for f in used))
    marks = [mark for mark in (MARKS_OF_A_WIDE_AXIS if high / low > 5 else MARKS) if low <= mark <= high]
    tics = ", ".join(f"{quoted(workload)} {place}" for place, workload in enumerate(workloads))
    text = (f"set title {quoted(title)}\nset xtics ({tics})\nset ytics ({', '.join(map(str, marks))})\n"
            f"set xrange [-0.6:{len(workloads) - 0.4}]\nset yrange [{low:.3f}:{high:.3f}]\nplot ")
    for k, name in enumerate(names):
        text += (f"$panel{number} index {k} using 1:2:3:4:(1):2 with boxxyerror lc rgb {quoted(COLOURS[name])} "
                 f"title {quoted(name)}, ")
    return text + (f'$panel{number} using 1:5:(0):($6-$5) with vectors nohead lc rgb "#333333" notitle, '
                   '1 lc rgb "#333333" notitle\n')


def script(panels):
    text = (f'set terminal svg size {WIDTH},{HEIGHT * len(panels)} font "sans-serif,12" background "white"\n'
            'set style fill solid 1 noborder\nset logscale y\nset grid ytics lc rgb "#dddddd"\n'
            "set ytics nomirror\nset xtics nomirror scale 0\nset border 3\n"
            "set key outside right top Left reverse\nset rmargin 26\nset lmargin 9\n"
            'set ylabel "time, ratio to plain"\n')
    text += "".join(block(i, names, works, figures) for i, (_, names, works, figures) in enumerate(panels))
    text += f"set multiplot layout {len(panels)},1\n"
    text += "".join(panel(i, *each) for i, each in enumerate(panels))
    return text + "unset multiplot\n"


def write(report, path):
    """Draws what there is to draw. False: nothing, or no gnuplot, which is said."""
    panels = list(panels_of(report))
    if not panels:
        print("no plot: none of the experiments in it was run")
        return False
    if not shutil.which("gnuplot"):
        print("NO PLOT: there is no gnuplot (Debian's package gnuplot-nox)")
        return False
    drawn = subprocess.run(["gnuplot"], input=script(panels).encode(), capture_output=True, check=True, timeout=60)
    path.write_bytes(drawn.stdout)
    return True
