// SPDX-License-Identifier: LGPL-2.1-or-later
/* term.c - what the output device can show, and plain tables. */
#include "term.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool term_color(const struct cli *cli, FILE *out)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	if (cli->color != CLI_COLOR_AUTO)
		return cli->color == CLI_COLOR_ALWAYS;
	if (no_color && *no_color)
		return false;
	return isatty(fileno(out)) && term && strcmp(term, "dumb");
}

bool term_truecolor(const struct cli *cli, FILE *out)
{
	const char *colorterm = getenv("COLORTERM"), *term = getenv("TERM");

	if (!term_color(cli, out))
		return false;
	if (cli->color == CLI_COLOR_ALWAYS)
		return true;
	return (colorterm && (!strcmp(colorterm, "truecolor") || !strcmp(colorterm, "24bit"))) ||
	       (term && strstr(term, "-direct"));
}

static int term_size(FILE *out, bool rows)
{
	struct winsize size;
	const char *env = getenv(rows ? "LINES" : "COLUMNS");
	int n = env ? atoi(env) : 0;

	if (ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && (rows ? size.ws_row : size.ws_col) > 0)
		n = rows ? size.ws_row : size.ws_col;
	if (n <= 0)
		n = rows ? 24 : 80;
	return n < 20 ? 20 : n > 1000 ? 1000 : n;
}

int term_width(FILE *out)
{
	return term_size(out, false);
}

int term_height(FILE *out)
{
	return term_size(out, true);
}

int term_columns(const char *text)
{
	int n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static void put_escaped(FILE *out, unsigned char c)
{
	if (c == '\n')
		fputs("\\n", out);
	else if (c == '\t')
		fputs("\\t", out);
	else
		fprintf(out, "\\x%02x", c);
}

void term_print_words(FILE *out, const char *words)
{
	for (; *words; words++) {
		if (iscntrl((unsigned char)*words))
			put_escaped(out, (unsigned char)*words);
		else
			putc(*words, out);
	}
}

void table_init(struct table *table, int columns, const char *const *names)
{
	memset(table, 0, sizeof(*table));
	table->columns = columns;
	for (int i = 0; i < columns; i++) {
		table->right[i] = names[i][0] == '>';
		table_cell(table, "%s", names[i] + table->right[i]);
	}
}

static bool has_control(const char *text)
{
	while (*text && !iscntrl((unsigned char)*text))
		text++;
	return *text;
}

/* Frees @text. NULL: no memory. */
static char *escaped(char *text)
{
	char *result = NULL;
	size_t size;
	FILE *out = open_memstream(&result, &size);

	if (out) {
		term_print_words(out, text);
		if (fclose(out)) {
			free(result);
			result = NULL;
		}
	}
	free(text);
	return result;
}

void table_cell(struct table *table, const char *format, ...)
{
	char *text;
	va_list ap;

	if (table->failed)
		return;
	if (table->count == table->capacity) {
		size_t capacity = table->capacity ? table->capacity * 2 : 64;
		char **cells = reallocarray(table->cells, capacity, sizeof(*cells));

		if (!cells) {
			table->failed = true;
			return;
		}
		table->cells = cells;
		table->capacity = capacity;
	}
	va_start(ap, format);
	if (vasprintf(&text, format, ap) < 0)
		text = NULL;
	va_end(ap);
	if (text && has_control(text))
		text = escaped(text);
	if (text)
		table->cells[table->count++] = text;
	else
		table->failed = true;
}

void table_print(struct table *table, FILE *out, bool bold)
{
	int widths[TABLE_COLUMNS_MAX] = {0}, columns = table->columns;

	for (size_t i = 0; i < table->count; i++) {
		int n = term_columns(table->cells[i]);

		if (n > widths[i % (size_t)columns])
			widths[i % (size_t)columns] = n;
	}
	for (size_t i = 0; i < table->count && !table->failed; i++) {
		int column = (int)(i % (size_t)columns), pad = widths[column] - term_columns(table->cells[i]);
		bool head = i < (size_t)columns, last = column == columns - 1;

		if (head && column == 0 && bold)
			fputs("\033[1m", out);
		fprintf(out, "%*s%s%*s", table->right[column] ? pad : 0, "", table->cells[i],
			table->right[column] || last ? 0 : pad, "");
		if (head && last && bold)
			fputs("\033[0m", out);
		fputs(last ? "\n" : "  ", out);
	}
	if (table->failed)
		fputs("(out of memory)\n", out);
	table_done(table);
}

void table_done(struct table *table)
{
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i]);
	free(table->cells);
	memset(table, 0, sizeof(*table));
}

void term_print_line(const void *data, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		unsigned char c = ((const unsigned char *)data)[i];

		if (c == '\\')
			fputs("\\\\", stdout);
		else if (iscntrl(c))
			put_escaped(stdout, c);
		else
			putchar(c);
	}
}
