/* SPDX-License-Identifier: MIT */
#include "roff.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static char held[4096];                            /* a line of text that may be a term */
static bool is_example, wants_paragraph, is_begun; /* is_begun: something stands below the heading */

/* Text with its fonts; a dot or quote in front would be a command. */
static void text(const char *line)
{
    bool is_bold = false, is_italic = false, is_literal = false;
    if (*line == '.' || *line == '\'')
        fputs("\\&", stdout);
    for (; *line; line++) {
        if (*line == '\\' && line[1])
            line++;
        else if (*line == '`' || (!is_literal && *line == '*')) {
            bool *is_on = *line == '`' ? &is_literal : line[1] == '*' ? &is_bold : &is_italic;
            line += is_on == &is_bold;
            *is_on = !*is_on;
            fputs(!*is_on ? "\\fR" : is_on == &is_italic ? "\\fI" : "\\fB", stdout);
            continue;
        }
        fputs(*line == '-'    ? "\\-"
              : *line == '\\' ? "\\e"
              : *line == '~'  ? "\\(ti"
              : *line == '^'  ? "\\(ha"
                              : "",
              stdout);
        if (!strchr("-\\~^", *line))
            putchar(*line);
    }
    putchar('\n');
}

/* What was held is no term, but text. */
static void let_go(void)
{
    if (!*held)
        return;
    if (wants_paragraph && is_begun)
        puts(".PP");
    wants_paragraph = false;
    is_begun = true;
    text(held);
    *held = '\0';
}

static void title(const char *line)
{
    char name[64], section[8], date[16];
    if (sscanf(line, "# %63[^(](%7[^)]) %15s", name, section, date) == 3)
        printf(".TH %s %s %s \"memwatch %s\" \"memwatch\"\n", name, section, date, MEMWATCH_VERSION);
}

void roff_line(const char *line)
{
    bool is_code = line && strncmp(line, "    ", 4) == 0;
    if (line && line[0] == ':' && line[1] == ' ' && *held) {
        puts(".TP");
        text(held);
        *held = '\0';
        wants_paragraph = false;
        is_begun = true;
        text(line + 2);
        return;
    }
    let_go();
    if (is_example && !is_code)
        puts(".EE\n.RE");
    if (is_code && !is_example)
        puts(wants_paragraph && is_begun ? ".PP\n.RS 4\n.EX" : ".RS 4\n.EX");
    is_example = is_code;
    if (!line)
        return;
    if (is_code) {
        char literal[8192];
        roff_escape(line + 4, literal, sizeof literal);
        text(literal);
    } else if (strncmp(line, "## ", 3) == 0) {
        printf(".SH %s\n", line + 3);
        is_begun = false;
    } else if (strncmp(line, "# ", 2) == 0) {
        title(line);
    } else if (*line) {
        snprintf(held, sizeof held, "%s", line);
    } else {
        wants_paragraph = true;
    }
    if (is_code)
        wants_paragraph = true;
}

void roff_escape(const char *plain, char *markdown, unsigned long capacity_bytes)
{
    unsigned long length = 0;
    for (; *plain && length + 3 < capacity_bytes; plain++) {
        if (strchr("\\*`", *plain))
            markdown[length++] = '\\';
        markdown[length++] = *plain;
    }
    markdown[length] = '\0';
}
