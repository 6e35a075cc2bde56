"""Calls of segpipe in code that is not run here: the names exist, and take what they are given."""

from __future__ import annotations

import ast
import inspect
import re
import types
import typing
from collections.abc import Callable
from functools import cached_property
from typing import Any

import segpipe

#: What the pages call things that they do not make in the same block.
_CALLED: dict[str, Any] = {
    "segpipe": segpipe,
    "writer": segpipe.ManifestWriter,
    "root": segpipe.Root,
    "catalog": segpipe.Catalog,
}
_UNKNOWN = object()


def wrong_calls(code: str) -> list[tuple[int, str]]:
    """Line of the code and what is wrong with a name or call of segpipe there."""
    checked = _Calls()
    checked.visit(ast.parse(code))
    return checked.wrong


class _Calls(ast.NodeVisitor):
    """Follows names to segpipe's modules, classes and functions; an instance is its class."""

    def __init__(self) -> None:
        self.names = dict(_CALLED)
        self.wrong: list[tuple[int, str]] = []

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.module and node.module.split(".")[0] == "segpipe":
            module = __import__(node.module, fromlist=["_"])
            for one in node.names:
                if hasattr(module, one.name):
                    self.names[one.asname or one.name] = getattr(module, one.name)
                else:
                    self.wrong.append((node.lineno, f"{node.module} has no {one.name}"))

    def visit_Assign(self, node: ast.Assign) -> None:
        self.generic_visit(node)
        for target in node.targets:
            if isinstance(target, ast.Name):
                self.names[target.id] = self.found(node.value)

    def visit_With(self, node: ast.With) -> None:
        for item in node.items:
            if isinstance(item.optional_vars, ast.Name):
                self.names[item.optional_vars.id] = self.found(item.context_expr)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        owner = self.found(node.value)
        if _is_of_segpipe(owner) and self.found(node) is _UNKNOWN and not _has(owner, node.attr):
            name = getattr(owner, "__name__", owner)
            self.wrong.append((node.lineno, f"{name} has no {node.attr}"))
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        called = self.found(node.func)
        if _is_of_segpipe(called) and callable(called):
            try:
                _bind(called, node)
            except TypeError as error:
                self.wrong.append((node.lineno, f"{ast.unparse(node.func)}(...): {error}"))
        self.generic_visit(node)

    def found(self, node: ast.expr) -> Any:
        """What an expression is: a module, a class (also for its instances) or a function."""
        if isinstance(node, ast.Name):
            return self.names.get(node.id, _UNKNOWN)
        if isinstance(node, ast.Attribute):
            member = inspect.getattr_static(self.found(node.value), node.attr, _UNKNOWN)
            if member is _UNKNOWN and isinstance(self.found(node.value), types.ModuleType):
                member = getattr(self.found(node.value), node.attr, _UNKNOWN)  # imported when used
            if isinstance(member, (property, cached_property)):
                return _returned(getattr(member, "fget", None) or member.func)
            return getattr(member, "__func__", member)
        if isinstance(node, ast.Call):
            called = self.found(node.func)
            if inspect.isclass(called):
                return called
            kind = _returned(called)
            own = kind is typing.Self and isinstance(node.func, ast.Attribute)
            return self.found(node.func.value) if own else kind
        return _UNKNOWN


def _returned(function: Any) -> Any:
    """The class a function says it returns."""
    try:
        kind = typing.get_type_hints(function).get("return", _UNKNOWN)
    except (NameError, TypeError):
        return _UNKNOWN
    return kind if inspect.isclass(kind) or kind is typing.Self else _UNKNOWN


def _has(owner: Any, name: str) -> bool:
    if hasattr(owner, name) or not inspect.isclass(owner):
        return hasattr(owner, name)
    classes = [one for one in owner.__mro__ if _is_of_segpipe(one)]
    fields = {field for one in classes for field in inspect.get_annotations(one)}
    set_there = rf"self\.{name}\b[^\n]* = |self\.{name}, |, self\.{name}\b"
    return name in fields or any(re.search(set_there, inspect.getsource(one)) for one in classes)


def _is_of_segpipe(found: Any) -> bool:
    name = getattr(found, "__module__", None) or getattr(found, "__name__", "")
    return isinstance(name, str) and name.split(".")[0] == "segpipe"


def _bind(called: Callable[..., Any], node: ast.Call) -> None:
    """Give a function the arguments of a call; a TypeError says what does not fit."""
    signature = inspect.signature(called)
    positional: list[object] = [one for one in node.args if not isinstance(one, ast.Starred)]
    named = {one.arg: one.value for one in node.keywords if one.arg}
    open_ended = len(positional) < len(node.args) or len(named) < len(node.keywords)
    if next(iter(signature.parameters), "") in ("self", "cls"):
        positional.insert(0, called)
    (signature.bind_partial if open_ended else signature.bind)(*positional, **named)
