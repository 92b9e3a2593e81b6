/* SPDX-License-Identifier: MIT
 *
 * A manual page of Markdown, as much of it as our pages use: a first line "# NAME(SECTION) DATE", "## HEADINGS",
 * paragraphs, terms with their explanation behind ": " on the next line, examples indented by four spaces, **bold**,
 * *italic* and `literal`. A backslash takes the next character as it is. Writes man(7) to standard output.
 */
#ifndef MW_ROFF_H
#define MW_ROFF_H

/* Takes the lines of the page one by one, without their newline; NULL is the end. A term is written when the line
 * behind it has come. */
void roff_line(const char *line);

/* The same of a text that is literal: nothing in it means anything. Between marks of the caller's. */
void roff_escape(const char *text, char *markdown, unsigned long capacity_bytes);

#endif
