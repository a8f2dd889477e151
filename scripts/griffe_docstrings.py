"""For the reference in docs/: types come from the stub of the extension, docstrings from the extension itself."""

import copy
import importlib
import inspect
from typing import Any

import griffe


class RuntimeDocstrings(griffe.Extension):
    """Give what _core.pyi declares the docstring it has at run time."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        self._fill(pkg["_core"], importlib.import_module(f"{pkg.path}._core"))

    def _fill(self, there: griffe.Object, here: object) -> None:
        for name, forms in getattr(there, "overloads", {}).items():
            if name not in there.members:  # a stub has no implementation beside the overloads
                whole = copy.copy(forms[-1])
                whole.overloads = forms
                there.set_member(name, whole)
        for name, member in there.members.items():
            value = getattr(here, name, None)
            if member.is_alias or value is None or isinstance(value, (int, str)):
                continue
            if text := inspect.getdoc(value):
                first, _, rest = text.partition("\n\n")
                if "->" in first and first.startswith(f"{name}("):
                    text = rest  # without the signature, which the stub has better
                member.docstring = griffe.Docstring(text, parent=member, parser="google")
            if member.is_class:
                self._fill(member, value)
