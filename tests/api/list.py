#!/usr/bin/env python3
"""Lists the public API from rustdoc's JSON: `list.py JSON` prints one line for each public item."""
import json
import sys

with open(sys.argv[1]) as file:
    crate = json.load(file)
index, paths = crate["index"], crate["paths"]
lines = set()


def item(number):
    return index.get(str(number))


def bound(value):
    if "trait_bound" in value:
        return path(value["trait_bound"]["trait"])
    return value.get("outlives") or "use<>"


def arguments(value):
    if not value:
        return ""
    if "parenthesized" in value:
        inside = value["parenthesized"]
        output = f" -> {kind(inside['output'])}" if inside["output"] else ""
        return f"({', '.join(map(kind, inside['inputs']))}){output}"
    if "angle_bracketed" not in value:
        return ""
    inside = value["angle_bracketed"]
    parts = []
    for argument in inside["args"]:
        if isinstance(argument, str):
            parts.append("_")
        elif "lifetime" in argument:
            parts.append(argument["lifetime"])
        elif "type" in argument:
            parts.append(kind(argument["type"]))
        else:
            parts.append(argument["const"]["expr"])
    for constraint in inside["constraints"]:
        target = constraint["binding"]
        if "equality" in target:
            parts.append(f"{constraint['name']} = {term(target['equality'])}")
        else:
            parts.append(f"{constraint['name']}: {' + '.join(map(bound, target['constraint']))}")
    return f"<{', '.join(parts)}>" if parts else ""


def term(value):
    return kind(value["type"]) if "type" in value else value["constant"]["expr"]


def path(value):
    return value["path"].split("::")[-1] + arguments(value["args"])


def kind(value):
    """A type, as in the source but with the last names of paths alone."""
    (name, inside), = value.items() if isinstance(value, dict) else ((value, None),)
    match name:
        case "resolved_path":
            return path(inside)
        case "generic" | "primitive":
            return inside
        case "tuple":
            return f"({', '.join(map(kind, inside))})"
        case "slice":
            return f"[{kind(inside)}]"
        case "array":
            return f"[{kind(inside['type'])}; {inside['len']}]"
        case "borrowed_ref":
            lifetime = f"{inside['lifetime']} " if inside["lifetime"] else ""
            return f"&{lifetime}{'mut ' if inside['is_mutable'] else ''}{kind(inside['type'])}"
        case "dyn_trait":
            return "dyn " + " + ".join(path(one["trait"]) for one in inside["traits"])
        case "impl_trait":
            return "impl " + " + ".join(map(bound, inside))
        case "function_pointer":
            return "fn" + signature(inside["sig"])
        case "qualified_path":
            return f"{kind(inside['self_type'])}::{inside['name']}"
        case _:
            return name


def signature(value):
    inputs = ", ".join(f"{name}: {kind(type)}" for name, type in value["inputs"])
    return f"({inputs})" + (f" -> {kind(value['output'])}" if value["output"] else "")


def generics(value):
    parts = []
    for parameter in value["params"]:
        described = parameter["kind"]
        if "type" in described and not described["type"]["is_synthetic"]:
            bounds = " + ".join(map(bound, described["type"]["bounds"]))
            parts.append(parameter["name"] + (f": {bounds}" if bounds else ""))
        elif "const" in described:
            parts.append(f"const {parameter['name']}")
    return f"<{', '.join(parts)}>" if parts else ""


def function(place, one):
    inside = one["inner"]["function"]
    where = " + ".join(
        f"{kind(rule['bound_predicate']['type'])}: {' + '.join(map(bound, rule['bound_predicate']['bounds']))}"
        for rule in inside["generics"]["where_predicates"]
        if "bound_predicate" in rule
    )
    note = f" where {where}" if where else ""
    lines.add(f"fn {place}{generics(inside['generics'])}{signature(inside['sig'])}{note}")


def fields(place, numbers):
    for number in numbers:
        one = item(number) if number is not None else None
        if one and "struct_field" in one["inner"]:
            lines.add(f"field {place}.{one['name']}: {kind(one['inner']['struct_field'])}")


def members(place, numbers):
    """The methods of the type, and the traits of which this crate or a derive has an implementation."""
    for number in numbers:
        one = item(number)
        inside = one["inner"]["impl"] if one else None
        if not inside or inside["is_synthetic"] or inside["blanket_impl"]:
            continue
        # A mark of the compiler beside `PartialEq`.
        if inside["trait"] and inside["trait"]["path"] == "StructuralPartialEq":
            continue
        if inside["trait"]:
            lines.add(f"impl {path(inside['trait'])} for {place}")
            continue
        for member in map(item, inside["items"]):
            if member and "function" in member["inner"]:
                function(f"{place}::{member['name']}", member)
            elif member:
                lines.add(f"{next(iter(member['inner']))} {place}::{member['name']}")


def walk(place, one, seen):
    (sort, inside), = one["inner"].items()
    grows = " (non_exhaustive)" if "non_exhaustive" in one["attrs"] else ""
    match sort:
        case "use":
            target = item(inside["id"]) if inside["id"] is not None else None
            if target is None or inside["is_glob"]:
                lines.add(f"use {place}::{inside['name']} = {inside['source']}")
            elif "module" not in target["inner"] or inside["id"] not in seen:
                walk(f"{place}::{inside['name']}", target, seen | {inside["id"]})
        case "module":
            lines.add(f"mod {place}")
            for child in map(item, inside["items"]):
                if child is None:
                    continue
                is_use = "use" in child["inner"]
                # The prelude repeats names of the root.
                if place.endswith("::prelude") and is_use:
                    lines.add(f"use {place}::{child['inner']['use']['name']}")
                elif is_use:
                    walk(place, child, seen)
                else:
                    walk(f"{place}::{child['name']}", child, seen)
        case "struct":
            lines.add(f"struct {place}{generics(inside['generics'])}{grows}")
            shape = inside["kind"]
            if isinstance(shape, dict):
                fields(place, shape["plain"]["fields"] if "plain" in shape else shape["tuple"])
            members(place, inside["impls"])
        case "enum":
            lines.add(f"enum {place}{generics(inside['generics'])}{grows}")
            for variant in map(item, inside["variants"]):
                shape = variant["inner"]["variant"]["kind"]
                lines.add(f"variant {place}::{variant['name']}")
                if isinstance(shape, dict):
                    fields(f"{place}::{variant['name']}", shape["struct"]["fields"] if "struct" in shape else shape["tuple"])
            members(place, inside["impls"])
        case "trait":
            bounds = " + ".join(map(bound, inside["bounds"]))
            lines.add(f"trait {place}{generics(inside['generics'])}" + (f": {bounds}" if bounds else ""))
            for member in map(item, inside["items"]):
                if "function" in member["inner"]:
                    function(f"{place}::{member['name']}", member)
                else:
                    lines.add(f"{next(iter(member['inner']))} {place}::{member['name']}")
        case "function":
            function(place, one)
        case "constant":
            lines.add(f"const {place}: {kind(inside['type'])}")
        case "type_alias":
            lines.add(f"type {place}{generics(inside['generics'])} = {kind(inside['type'])}")
        case _:
            lines.add(f"{sort} {place}")


root = item(crate["root"])
walk(root["name"], root, frozenset())
print("\n".join(sorted(lines, key=lambda line: (line.split(" ", 1)[1].split(" for ")[-1], line))))
