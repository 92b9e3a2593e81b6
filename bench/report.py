# SPDX-License-Identifier: MIT
"""What was measured, as tables on a terminal and as docs/performance.md. Both are made from what goes into JSON."""

import contenders
import goals
import launchers
import plot
import workloads
from workloads import THROUGHPUT


GOAL_HEADS = ("experiment", "what", "figure", "aim", "met")


def ratio(values):
    """1.20 (1.18–1.25), with as many digits as mean something."""
    if not values:
        return "–"
    digits = 2 if values["median"] < 10 else 1 if values["median"] < 100 else 0
    return f"{values['median']:.{digits}f} ({values['min']:.{digits}f}–{values['max']:.{digits}f})"


def mebibytes(kib):
    return f"{kib / 1024:.1f} MiB"


def duration(ns):
    return f"{ns:.1f} ns" if ns < 1000 else f"{ns / 1000:.1f} µs" if ns < 1e6 else f"{ns / 1e6:.2f} ms"


def signed(number):
    return f"{number:+.1f}"


# ---- lines of a table: a list of cells for each row of a section ----


def time_cells(row):
    over = row.get("over")
    return [row["workload"], row["contender"], ratio(row["ratio"]), row["metric"], ratio(row["wall_ratio"]),
            f"{ratio(over)} {over['base']}" if over else "", duration(row["ns_per_operation"]),
            mebibytes(row["rss_kib"]["median"]),
            f"{row['rss_added_kib']['median'] / 1024:+.1f}"]


def memory_cells(row):
    added = row["rss_added_kib"]
    return [row["workload"], row["contender"], mebibytes(row["rss_kib"]["median"]),
            f"{added['median']:+.0f} KiB ({added['min']:+.0f}…{added['max']:+.0f})", ratio(row["rss_ratio"])]


def instruction_cells(row):
    over = row.get("over")
    return [row["workload"], row["contender"], f"{row['instructions']:.1f}",
            signed(row["added"]) if "added" in row else "–",
            f"{signed(over['added'])} {over['base']}" if over else ""]


def scaling_cells(row):
    return [row["workload"], row["contender"], ratio(row.get("gain")), ratio(row.get("ratio"))]


def tick_cells(row):
    return [row["workload"], row["contender"], f"{row['cpu_us_per_tick']:.1f} µs", str(row["lines"]),
            mebibytes(row["rss_kib"])]


def launching_cells(row):
    left = row.get("left")
    return [row["workload"], row["contender"], duration(row["first_ns"]["median"]), ratio(row["first_ratio"]),
            duration(row["end_ns"]["median"]), ratio(row["end_ratio"]),
            mebibytes(left["rss_kib"]) if left else "none left", f"{left['anonymous_kib']} KiB" if left else "",
            str(left["wakeups"]) if left else ""]


def retention_cells(row):
    return [row["workload"], row["contender"], mebibytes(row["after_kib"]["median"]), ratio(row.get("floor_ratio")),
            mebibytes(row["mean_kib"]["median"]), ratio(row["mean_ratio"]), mebibytes(row["peak_kib"]["median"]),
            ratio(row["throughput_ratio"]), ratio(row["cpu_ratio"])]


def survival_cells(row):
    return [row["workload"], row["contender"], mebibytes(row["limit_bytes"] / 1024),
            f"{row['ratio']:.2f}" if "ratio" in row else "–", mebibytes(row["peak_kib"]),
            f"{row['runs']}, {row['killed']} killed"]


def latency_cells(row):
    return [row["workload"], row["contender"],
            *(duration(row[word]["median"]) for word in ("p50_ns", "p99_ns", "p999_ns", "max_ns", "wait_ns")),
            mebibytes(row["mean_kib"]["median"]), ratio(row["cpu_ratio"])]


KINDS = {  # of sections: the heads of the columns, and the cells of a row
    "time": (("workload", "contender", "ratio to plain", "of", "wall ratio", "over its own base", "each", "peak RSS",
              "MiB added"), time_cells),
    "memory": (("workload", "contender", "peak RSS", "added to plain", "ratio"), memory_cells),
    "instructions": (("workload", "contender", "instructions", "over plain", "over its own base"), instruction_cells),
    "scaling": (("workloads", "contender", "gain", "ratio to plain's"), scaling_cells),
    "tick": (("workload", "contender", "CPU a tick", "lines", "peak RSS"), tick_cells),
    "launching": (("program", "launcher", "to its first line", "ratio to plain", "to its end", "ratio to plain",
                   "RSS beside it", "anonymous", "wake-ups"), launching_cells),
    "retention": (("workload", "contender", "RSS after it", "ratio to floor", "mean RSS", "ratio to plain", "peak RSS",
                   "throughput, ratio", "CPU, ratio"), retention_cells),
    "survival": (("workload", "contender", "lowest limit", "ratio to plain", "peak RSS without one", "runs"),
                 survival_cells),
    "latency": (("workload", "contender", "p50", "p99", "p99.9", "longest", "longest wait", "mean RSS", "CPU, ratio"),
                latency_cells),
}


def lines_of(section):
    heads, cells = KINDS[section["kind"]]
    lines = [cells(row) if not row["failure"] else [row["workload"], row["contender"], "NONE: " + row["failure"]]
             for row in section["rows"]]
    lines += [["geometric mean", m["contender"], ratio(m["ratio"]), f"of {len(m['workloads'])}"]
              for m in section.get("means", ()) if section["kind"] == "time"]
    return heads, lines


# ---- on a terminal ----


def print_section(name, section):
    print(f"\n{name}: {section['title']}" + (f", {section['runs']} runs" if "runs" in section else "")
          + (f", {section['quiet_s']:.3g} s quiet" if "quiet_s" in section else "")
          + (f", {section['times']} of {section['times']} runs" if "times" in section else ""))
    if section.get("not_run"):
        print(f"  NOT RUN HERE: {section['not_run']}")
        return
    print_table(*lines_of(section))


def print_goals(report):
    lines = goals.reached(report)
    if lines:
        print("\nwhat is aimed at")
        print_table(GOAL_HEADS, lines)


def print_table(heads, lines):
    widths = [max([len(head)] + [len(line[i]) for line in lines if i < len(line) and not line[i].startswith("NONE")])
              for i, head in enumerate(heads)]
    print("  " + "  ".join(head.ljust(width) for head, width in zip(heads, widths)).rstrip())
    before = None
    for line in lines:
        shown = ["" if line[0] == before else line[0], *line[1:]]
        before = line[0]
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(shown, widths)).rstrip(), flush=True)


def join(results, order):
    """Reports of several runs as one, an experiment from the last that has it. What the machine said of itself in each,
    where that differs. `order`: of the experiments."""
    first, *others = results
    for other in others:
        for key, value in other["machine"].items():
            told = first["machine"].get(key, "")
            if value not in told.split("; "):
                first["machine"][key] = f"{told}; {value}" if told else value
        for part in ("experiments", "versions", "left_out"):
            first[part] |= other[part]
    first["experiments"] = {name: first["experiments"][name] for name in order if name in first["experiments"]}
    return first


def print_machine(report):
    print("\n".join(f"{key}: {value}" for key, value in report["machine"].items()))


# ---- docs/performance.md ----


def in_markdown(cells):
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def table(heads, lines):
    return in_markdown(heads) + in_markdown(["---"] * len(heads)) + "".join(map(in_markdown, lines)) + "\n"


def pivot(section, cell):
    """A line a contender, a column a workload."""
    names = list(dict.fromkeys(r["workload"] for r in section["rows"]))
    found = {(r["contender"], r["workload"]): r for r in section["rows"]}
    means = {m["contender"]: m for m in section.get("means", ())}
    lines = []
    for contender in dict.fromkeys(r["contender"] for r in section["rows"]):
        rows = [found.get((contender, name)) for name in names]
        line = [contender] + ["–" if not r else r["failure"] or cell(r) for r in rows]
        if section["kind"] == "time" and means:
            complete = contender in means and len(means[contender]["workloads"]) == len(names)
            line.append(ratio(means[contender]["ratio"]) if complete else "–")
        lines.append(line)
    heads = ["", *names] + (["geometric mean"] if section["kind"] == "time" and means else [])
    return table(heads, lines)


def time_document(section):
    thrown = [r["workload"] for r in section["rows"] if r["metric"] == THROUGHPUT]
    walls = [r["workload"] for r in section["rows"] if r["metric"] == "wall"]
    text = f"Ratio to plain: median (least–greatest) of {section['runs']} interleaved runs; CPU time"
    for names, of in ((walls, "time on the clock"), (thrown, "throughput, where more is better")):
        if names:
            text += f"; for {', '.join(dict.fromkeys(names))}: {of}"
    text += ".\n\n" + pivot(section, lambda r: ratio(r["ratio"]))
    over = [[r["contender"], r["over"]["base"], r["workload"], ratio(r["over"])]
            for r in section["rows"] if "over" in r]
    if over:
        text += "What each adds to the allocator it stands on:\n\n"
        text += over_pivot([r for r in section["rows"] if "over" in r], lambda r: ratio(r["over"]))
    each = [["plain", *(time_cells(r)[6] for r in section["rows"] if r["contender"] == "plain" and not r["failure"])]]
    names = [r["workload"] for r in section["rows"] if r["contender"] == "plain" and not r["failure"]]
    return text + "One operation of the plain program takes:\n\n" + table(["", *names], each)


def over_pivot(rows, cell):
    names = list(dict.fromkeys(r["workload"] for r in rows))
    found = {(r["contender"], r["workload"]): r for r in rows}
    pairs = dict.fromkeys((r["contender"], r["over"]["base"]) for r in rows)
    return table(["", "over", *names], [[name, base, *(cell(found[name, w]) if (name, w) in found else "–"
                                                       for w in names)] for name, base in pairs])


def instruction_document(section):
    text = ("Instructions in user space for one pair (or realloc), by callgrind: the difference between two lengths\n"
            "of run. In brackets what that is over plain. They repeat exactly.\n\n")
    text += pivot(section, lambda r: f"{r['instructions']:.1f} ({signed(r['added'])})" if "added" in r
                  else f"{r['instructions']:.1f}")
    over = [r for r in section["rows"] if "over" in r]
    if over:
        text += "What each adds to the allocator it stands on:\n\n"
        text += over_pivot(over, lambda r: signed(r["over"]["added"]))
    return text


def memory_document(section):
    def cell(row):
        return f"{mebibytes(row['rss_kib']['median'])} ({row['rss_added_kib']['median']:+,.0f} KiB)"
    return "Peak resident memory, and what is added to the plain program's.\n\n" + pivot(section, cell)


def scaling_document(section):
    def cell(row):
        return f"{row['gain']['median']:.2f}; {ratio(row['ratio'])}" if "ratio" in row else "–"
    return "What two threads get done in the time of one, and the ratio to plain's gain.\n\n" + pivot(section, cell)


def tick_document(section):
    what = workloads.describe("idle").what
    return (f"CPU time of a tick, in a process with {what}; a tick every {section['interval_ms']} ms.\n\n"
            + table(KINDS["tick"][0], lines_of(section)[1]))


def by_workload(section):
    """A table a workload, a line a contender."""
    heads, lines = lines_of(section)
    text = ""
    for name in dict.fromkeys(line[0] for line in lines):
        text += f"### {name}\n\n" + table(heads[1:], [line[1:] for line in lines if line[0] == name])
    return text


def launching_document(section):
    gap = f", {section['gap_s'] * 1000:.0f} ms apart" if section["gap_s"] else ""
    whats = [[launcher.name, launcher.what] for launcher in launchers.LAUNCHERS]
    return ("From posix_spawn of the launcher to the first line of the program's main, and to the launcher's end; the\n"
            f"program does nothing else. Medians of {section['runs']} interleaved runs{gap}. `static` is linked\n"
            "statically, so nothing is preloaded, and the time is the launcher's alone; into `dynamic` memwatch-run\n"
            f"loads its library. Beside a program that sleeps, over {section['asleep_s']} s: the launcher's resident\n"
            "memory, what of it is anonymous, and how often its threads were scheduled.\n\n"
            + by_workload(section) + table(["launcher", "what"], whats)
            + "Debian's versions: " + ", ".join(f"{k} {v}" for k, v in section["versions"].items()) + ".\n\n")


def retention_document(section):
    return (f"Each workload does its work and is then quiet for {section['quiet_s']:.3g} s: resident memory at the\n"
            "end of that time, and its mean over the whole run, looked at from outside every 50 ms; throughput of\n"
            "the work, and CPU time of the whole run, as ratios to plain. The floor is the program that calls\n"
            "malloc_trim itself when its work is done. That does not give back the end of an arena, and how large\n"
            "that is hangs on the order of the last frees, which sampling changes: so there is a floor of the\n"
            f"watched program as well (memwatch and floor). Medians (least–greatest) of {section['runs']} runs; the\n"
            "quiet time of one passes while others work.\n\n" + by_workload(section))


def survival_document(section):
    if section.get("not_run"):
        return f"Not run: {section['not_run']}.\n\n"
    times = section["times"]
    return ("The lowest limit of a memory cgroup, without swap, at which the workload finishes in\n"
            f"{times} of {times} runs and is not killed by the kernel: found by halving, to 1 MiB or 2 %. Close to\n"
            "the limit it is chance.\n\n" + by_workload(section))


def latency_document(section):
    return ("How long malloc and free kept threads that call them every 100 µs, while memory is given back\n"
            "beside them: percentiles over all slots, where each that was missed counts as having waited; and the\n"
            "longest time from the beginning of a slot to the end of its calls. Medians of\n"
            f"{section['runs']} runs.\n\n"
            + table(KINDS["latency"][0][1:], [line[1:] for line in lines_of(section)[1]]))


def not_run(name, section):
    """Why a whole section could not be measured, by the name of its experiment."""
    return {name: section["not_run"]} if section.get("not_run") else {}


DOCUMENTS = {"time": time_document, "memory": memory_document, "instructions": instruction_document,
             "scaling": scaling_document, "tick": tick_document, "launching": launching_document, "retention": retention_document,
             "survival": survival_document, "latency": latency_document}


def document(report, plot_name):
    """docs/performance.md."""
    sections = [s for parts in report["experiments"].values() for s in parts]
    told = [s for s in sections if s["kind"] != "launching"]  # which tells of its own contenders and programs
    used = {key: list(dict.fromkeys(r[key] for s in told for r in s["rows"])) for key in ("contender", "workload")}
    text = ("# What watching costs\n\n"
            "Made by `./dev bench --write-docs`; `./dev bench NAME` makes one of the tables again. Every contender of\n"
            "an experiment runs its workloads in the same run, one after the other, A B C A B C …; a ratio is taken\n"
            "within a round, and the median of the rounds is shown with the least and the greatest. CPU time is user\n"
            "and system time; peak memory is the greatest resident set of any process of the run. Nothing is pinned.\n"
            "`plain again` is the plain program once more: what it differs from 1 is the noise of this run.\n\n")
    text += table(["", ""], [[key, str(value)] for key, value in report["machine"].items()])
    if plot_name:
        text += f"![Time under each watcher, as a ratio to the plain program]({plot_name})\n\n"
    aims = goals.reached(report)
    if aims:
        text += ("## What is aimed at\n\nEach figure is made by `./dev bench` and the name of its experiment.\n\n"
                 + table(GOAL_HEADS, aims))
    for name, parts in report["experiments"].items():
        for section in parts:
            text += f"## {section['title']}\n\n`./dev bench {name}`\n\n{DOCUMENTS[section['kind']](section)}"
    text += "## Contenders\n\n" + table(["name", "what"], [[n, contenders.describe(n)] for n in used["contender"]])
    known = [w for w in workloads.WORKLOADS if any(w.name in name.split(" → ") for name in used["workload"])]
    text += "## Workloads\n\n" + table(["name", "what", "operations in a full run"],
                                       [[w.name, w.what, f"{w.operations:,}"] for w in known])
    if report["versions"]:
        text += "Debian's versions: " + ", ".join(f"{k} {v}" for k, v in report["versions"].items()) + ".\n"
    if report["left_out"]:
        text += "\nLeft out: " + "; ".join(f"{k}, {v}" for k, v in report["left_out"].items()) + ".\n"
    return text.rstrip() + "\n"


def write_documents(report, directory):
    """Writes performance.md and performance.svg."""
    drawn = plot.write(report, directory / "performance.svg")
    (directory / "performance.md").write_text(document(report, "performance.svg" if drawn else ""))


def failures(report):
    """Figures that could not be taken: (experiment, row)."""
    return [(name, row) for name, parts in report["experiments"].items() for s in parts for row in s["rows"]
            if row["failure"]]
