// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * toml.cc - TOML through toml++ (header only). No exception leaves this file.
 */
#include "config/toml.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <vector>

/*
 * Without its assertions the parser says what is wrong with a table header that has no name ("[" and a newline);
 * with them it ends the process. Where NDEBUG is defined they would become promises to the compiler, which is worse.
 */
#undef NDEBUG
#define TOML_ASSERT(expression) static_cast<void>(0)
#include <toml++/toml.h>

namespace
{

pf_toml_type type_of(const toml::node &node)
{
	switch (node.type()) {
	case toml::node_type::table:
		return PF_TOML_TABLE;
	case toml::node_type::array:
		return PF_TOML_ARRAY;
	case toml::node_type::string:
		return PF_TOML_STRING;
	case toml::node_type::integer:
		return PF_TOML_INTEGER;
	case toml::node_type::floating_point:
		return PF_TOML_REAL;
	case toml::node_type::boolean:
		return PF_TOML_BOOL;
	default:
		return PF_TOML_TIME;
	}
}

bool is_bare(std::string_view key)
{
	for (char c : key)
		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
		      c == '-'))
			return false;
	return !key.empty();
}

void fill(const toml::node &node, pf_toml_item &item)
{
	item.type = type_of(node);
	item.line = node.source().begin.line;
	item.column = node.source().begin.column;
	if (auto value = node.as_string()) {
		item.text = value->get().c_str();
		item.text_size = value->get().size();
	} else if (auto value = node.as_integer()) {
		item.integer = value->get();
	} else if (auto value = node.as_boolean()) {
		item.integer = value->get();
	} else if (auto value = node.as_floating_point()) {
		item.real = value->get();
	}
}

void walk(const toml::table &table, const std::string &prefix, pf_toml_fn fn, void *ctx)
{
	for (auto &&[key, node] : table) {
		std::string path = prefix.empty() ? "" : prefix + ".";
		std::vector<pf_toml_item> items;
		pf_toml_item item = {};

		path += is_bare(key.str()) ? std::string(key.str()) : "\"" + std::string(key.str()) + "\"";
		fill(node, item);
		item.path = path.c_str();
		item.key_line = key.source().begin.line;
		item.key_column = key.source().begin.column;
		if (auto array = node.as_array()) {
			for (auto &&element : *array) {
				items.emplace_back();
				fill(element, items.back());
			}
			item.items = items.data();
			item.item_count = items.size();
		}
		if (fn(ctx, &item) && node.is_table())
			walk(*node.as_table(), path, fn, ctx);
	}
}

} // namespace

extern "C" int pf_toml_read(const char *text, size_t size, pf_toml_fn fn, void *ctx, struct pf_toml_error *ret_error)
{
	try {
		walk(toml::parse(std::string_view(text, size)), "", fn, ctx);
		return 0;
	} catch (const toml::parse_error &error) {
		ret_error->line = error.source().begin.line;
		ret_error->column = error.source().begin.column;
		snprintf(ret_error->text, sizeof(ret_error->text), "%.*s", static_cast<int>(error.description().size()),
			 error.description().data());
		return -EINVAL;
	} catch (const std::bad_alloc &) {
		return -ENOMEM;
	} catch (...) {
		*ret_error = { 0, 0, "the parser gave up" };
		return -EINVAL;
	}
}
