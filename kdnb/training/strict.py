"""What every part of a spec is: frozen, strict about its fields, and able to grow.

A field that comes after format 2 is declared with `later`, and is left out of the JSON that is hashed while it stands at its
neutral value: what was trained before the field existed keeps its id.
"""

from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, model_validator


def later(neutral: Any, **constraints: Any) -> Any:
    """A field that came after format 2: `neutral` is its default, and the value that leaves ids as they were."""
    return Field(neutral, json_schema_extra={"later": True}, **constraints)


class Strict(BaseModel):
    """Frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _truth_values_are_no_numbers(cls, given: Any) -> Any:
        if isinstance(given, dict):
            for name, value in given.items():
                field = cls.model_fields.get(name)
                if field is not None and (wrong := _truth_values(value)) and _numbers_alone(field.annotation):
                    alone = isinstance(value, bool)
                    raise ValueError(f"{name} {'is a number' if alone else 'holds numbers'}, not {wrong[0]}")
        return given

    def canonical(self) -> dict[str, Any]:
        """What is hashed: the JSON form without later fields at their neutral value."""
        plain = self.model_dump(mode="json")
        for name, field in type(self).model_fields.items():
            extra = field.json_schema_extra
            value = getattr(self, name)
            if isinstance(extra, dict) and extra.get("later") and value == field.default:
                del plain[name]
            elif isinstance(value, Strict):
                plain[name] = value.canonical()
        return plain


def _truth_values(value: Any) -> list[bool]:
    """Those in a value, a list or a mapping of them."""
    if isinstance(value, dict):
        value = list(value.values())
    return [each for each in (value if isinstance(value, list | tuple) else [value]) if isinstance(each, bool)]


def _numbers_alone(annotation: Any) -> bool:
    """Whether a type takes numbers, by themselves or in a list or a mapping, and no truth values."""
    leaves, types = [annotation], set()
    while leaves:
        leaf = leaves.pop()
        parts = get_args(leaf)[:1] if get_origin(leaf) is Annotated else get_args(leaf)
        leaves += parts
        types |= set() if parts else {leaf}
    return bool({int, float} & types) and not {bool, Any} & types
