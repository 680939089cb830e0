/* SPDX-License-Identifier: Apache-2.0 */
/* Objects: the declared members in their order, those that are not required with a choice, all
 * other names behind them. */
#include <string.h>

#include "grammar/schema/members.h"

/* The members of an object as expressions. */
struct members {
    grammar_node *items; /* [count] name and value */
    bool *is_required;
    size_t count, required;
    grammar_node others; /* a member of another name */
    bool has_others;
    bool is_impossible; /* a member is required that cannot be */
};

/* "name" : value */
static status member_node(struct schema_compiler *self, const struct member_name *name,
                          const struct conjunction *value, grammar_node *out)
{
    struct buffer text = {0};
    grammar_node parts[3];
    status s = json_write_string(name->name, name->length, &text);
    if (s == STATUS_OK) {
        s = grammar_literal(self->expressions, text.data, text.length, &parts[0]);
    }
    buffer_destroy(&text);
    TRY(s);
    TRY(spaced_node(self, ":", &parts[1]));
    TRY(conjunction_compile(self, value, &parts[2]));
    return grammar_sequence(self->expressions, parts, 3, out);
}

static status read_members(struct schema_compiler *self, const struct conjunction *set,
                           struct members *out)
{
    struct member_names names;
    TRY(member_names_read(self, set, &names));
    *out = (struct members){
        .items = arena_allocate_array(self->arena, names.count + 1, sizeof *out->items),
        .is_required = arena_allocate_array(self->arena, names.count + 1, sizeof(bool))};
    if (out->items == NULL || out->is_required == NULL) {
        return schema_no_memory();
    }
    for (size_t i = 0; i < names.count; i++) {
        const struct member_name *name = &names.items[i];
        struct conjunction value;
        TRY(member_conjunction(self, set, name->name, name->length, &value));
        out->is_impossible |= value.is_never && name->is_required;
        if (!value.is_never) {
            TRY(member_node(self, name, &value, &out->items[out->count]));
            out->is_required[out->count++] = name->is_required;
            out->required += name->is_required;
        }
    }
    return other_members(self, set, &names, &out->others, &out->has_others);
}

/* "," member */
static status next_member(struct schema_compiler *self, grammar_node member, grammar_node *out)
{
    grammar_node parts[2] = {0, member};
    TRY(spaced_node(self, ",", &parts[0]));
    return grammar_sequence(self->expressions, parts, 2, out);
}

/* Any number of others, once a member is there. */
static status others_behind(struct schema_compiler *self, const struct members *members,
                            grammar_node *out)
{
    if (!members->has_others) {
        return grammar_literal(self->expressions, "", 0, out);
    }
    TRY(next_member(self, members->others, out));
    return grammar_repeat(self->expressions, *out, 0, GRAMMAR_UNBOUNDED, out);
}

/* Member i, if it is there, before what follows it. */
static status prepend_member(struct schema_compiler *self, const struct members *members, size_t i,
                             grammar_node *behind)
{
    grammar_node parts[2] = {0, *behind};
    TRY(next_member(self, members->items[i], &parts[0]));
    TRY(grammar_repeat(self->expressions, parts[0], members->is_required[i], 1, &parts[0]));
    return grammar_sequence(self->expressions, parts, 2, behind);
}

/* Optional members, each with its comma, before the first that is required. */
static status members_before(struct schema_compiler *self, const struct members *members,
                             size_t first, grammar_node *out)
{
    grammar_node parts[2], comma;
    TRY(spaced_node(self, ",", &comma));
    TRY(grammar_literal(self->expressions, "", 0, out));
    for (size_t i = first; i-- > 0;) {
        parts[0] = members->items[i];
        parts[1] = comma;
        TRY(grammar_sequence(self->expressions, parts, 2, &parts[0]));
        TRY(grammar_repeat(self->expressions, parts[0], 0, 1, &parts[0]));
        parts[1] = *out;
        TRY(grammar_sequence(self->expressions, parts, 2, out));
    }
    return STATUS_OK;
}

static status around_required(struct schema_compiler *self, const struct members *members,
                              size_t first, grammar_node *out)
{
    grammar_node parts[3];
    TRY(members_before(self, members, first, &parts[0]));
    parts[1] = members->items[first];
    TRY(others_behind(self, members, &parts[2]));
    for (size_t i = members->count; i-- > first + 1;) {
        TRY(prepend_member(self, members, i, &parts[2]));
    }
    return grammar_sequence(self->expressions, parts, 3, out);
}

/* None is required: a choice of the first one. */
static status any_first(struct schema_compiler *self, const struct members *members,
                        grammar_node *out)
{
    grammar_node *ways = arena_allocate_array(self->arena, members->count + 1, sizeof *ways);
    grammar_node parts[2], behind;
    size_t count = 0;
    if (ways == NULL) {
        return schema_no_memory();
    }
    TRY(others_behind(self, members, &behind));
    for (size_t i = members->count + members->has_others; i-- > 0;) {
        parts[0] = i < members->count ? members->items[i] : members->others;
        parts[1] = behind;
        TRY(grammar_sequence(self->expressions, parts, 2, &ways[count++]));
        TRY(i < members->count ? prepend_member(self, members, i, &behind) : STATUS_OK);
    }
    return grammar_choice(self->expressions, ways, count, out);
}

/* ---- Numbers of members ---- */

enum { MAX_COUNTED = 4096 };

/* The members from `item` on where `lack` at least and `room` at most are still to come, as rules
 * of each other: a table of them would otherwise be written out as a tree. */
struct counted {
    const struct members *members;
    struct length_range length;
    grammar_node *nodes; /* [count + 1][least + 1][most + 1][2], with 0 for those not made yet */
    bool *made;
    grammar_node nothing;
};

static status counted_node(struct schema_compiler *self, struct counted *counted, size_t item,
                           uint32_t lack, uint32_t room, bool is_first, grammar_node *out);

static status counted_others(struct schema_compiler *self, const struct counted *counted,
                             uint32_t lack, uint32_t room, bool is_first, grammar_node *out)
{
    grammar_node parts[2];
    const bool is_bounded = counted->length.most != GRAMMAR_UNBOUNDED;
    const struct members *members = counted->members;
    if (lack > 1 || (lack == 1 && (!members->has_others || (is_bounded && room == 0)))) {
        return grammar_choice(self->expressions, NULL, 0, out);
    }
    if (!members->has_others || (is_bounded && room == 0)) {
        *out = counted->nothing;
        return STATUS_OK;
    }
    TRY(next_member(self, members->others, &parts[1]));
    const uint32_t more = is_bounded ? room - is_first : GRAMMAR_UNBOUNDED;
    TRY(grammar_repeat(self->expressions, parts[1], is_first ? 0 : lack, more, &parts[1]));
    parts[0] = is_first ? members->others : counted->nothing;
    TRY(grammar_sequence(self->expressions, parts, 2, out));
    return grammar_repeat(self->expressions, *out, is_first ? lack : 1, 1, out);
}

static status counted_member(struct schema_compiler *self, struct counted *counted, size_t item,
                             uint32_t lack, uint32_t room, bool is_first, grammar_node *out)
{
    const bool is_bounded = counted->length.most != GRAMMAR_UNBOUNDED;
    grammar_node ways[2], parts[2];
    size_t count = 0;
    if (item == counted->members->count) {
        return counted_others(self, counted, lack, room, is_first, out);
    }
    if (!is_bounded || room > 0) {
        parts[0] = counted->members->items[item];
        if (!is_first) {
            TRY(next_member(self, parts[0], &parts[0]));
        }
        TRY(counted_node(self, counted, item + 1, lack > 0 ? lack - 1 : 0,
                         is_bounded ? room - 1 : 0, false, &parts[1]));
        TRY(grammar_sequence(self->expressions, parts, 2, &ways[count++]));
    }
    if (!counted->members->is_required[item]) {
        TRY(counted_node(self, counted, item + 1, lack, room, is_first, &ways[count++]));
    }
    return grammar_choice(self->expressions, ways, count, out);
}

static status counted_node(struct schema_compiler *self, struct counted *counted, size_t item,
                           uint32_t lack, uint32_t room, bool is_first, grammar_node *out)
{
    const bool is_bounded = counted->length.most != GRAMMAR_UNBOUNDED;
    const size_t rooms = is_bounded ? (size_t)counted->length.most + 1 : 1;
    const size_t at = ((item * (counted->length.least + 1) + lack) * rooms + room) * 2 + is_first;
    grammar_rule rule;
    if (!counted->made[at]) {
        TRY(counted_member(self, counted, item, lack, room, is_first, out));
        TRY(grammar_rule_declare(self->expressions, "members", &rule));
        TRY(grammar_rule_define(self->expressions, rule, *out));
        TRY(grammar_reference(self->expressions, rule, &counted->nodes[at]));
        counted->made[at] = true;
    }
    *out = counted->nodes[at];
    return STATUS_OK;
}

static status counted_members(struct schema_compiler *self, const struct members *members,
                              const struct length_range *length, grammar_node *out)
{
    struct counted counted = {.members = members, .length = *length};
    const bool is_bounded = length->most != GRAMMAR_UNBOUNDED;
    const uint64_t rooms = is_bounded ? (uint64_t)length->most + 1 : 1;
    const uint64_t places = 2 * (members->count + 1) * ((uint64_t)length->least + 1) * rooms;
    if (length->least > MAX_COUNTED || rooms > MAX_COUNTED || places > MAX_COUNTED) {
        return status_fail(STATUS_LIMIT, "minProperties, maxProperties: too many members to count");
    }
    counted.nodes = arena_allocate_array(self->arena, places, sizeof *counted.nodes);
    counted.made = arena_allocate_array(self->arena, places, sizeof *counted.made);
    if (counted.nodes == NULL || counted.made == NULL) {
        return schema_no_memory();
    }
    TRY(grammar_literal(self->expressions, "", 0, &counted.nothing));
    return counted_node(self, &counted, 0, length->least, is_bounded ? length->most : 0, true, out);
}

/* ---- Objects ---- */

/* More members than there can be are as good as no bound. */
static struct length_range bound_members(const struct members *members,
                                         const struct length_range *length)
{
    struct length_range out = *length;
    if (out.least <= members->required) {
        out.least = 0;
    }
    if (!members->has_others && out.most >= members->count) {
        out.most = GRAMMAR_UNBOUNDED;
    }
    return out;
}

status object_node(struct schema_compiler *self, const struct conjunction *set,
                   const struct length_range *length, grammar_node *out)
{
    struct members members;
    grammar_node body;
    size_t first = 0;
    TRY(read_members(self, set, &members));
    if (members.is_impossible || length->least > length->most) {
        return grammar_choice(self->expressions, NULL, 0, out);
    }
    const struct length_range bounds = bound_members(&members, length);
    if (bounds.least > 0 || bounds.most != GRAMMAR_UNBOUNDED) {
        TRY(counted_members(self, &members, &bounds, &body));
        return enclosed_node(self, "{", "}", &body, false, out);
    }
    while (first < members.count && !members.is_required[first]) {
        first++;
    }
    TRY(first < members.count ? around_required(self, &members, first, &body)
                              : any_first(self, &members, &body));
    return enclosed_node(self, "{", "}", &body, members.required == 0, out);
}

status object_is_empty(struct schema_compiler *self, const struct conjunction *set,
                       const struct length_range *length, bool *out)
{
    struct member_names names;
    uint32_t required = 0;
    *out = length->least > length->most;
    TRY(member_names_read(self, set, &names));
    for (size_t i = 0; !*out && i < names.count; i++) {
        struct conjunction value;
        if (names.items[i].is_required) {
            required++;
            TRY(member_conjunction(self, set, names.items[i].name, names.items[i].length, &value));
            TRY(conjunction_is_empty(self, &value, out));
        }
    }
    *out = *out || required > length->most;
    return STATUS_OK;
}
