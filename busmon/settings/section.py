"""What every section of the configuration has: all problems at once, secrets from files."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ModelWrapValidatorHandler,
    SecretStr,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError


def from_directory(path: Path, info: ValidationInfo) -> Path:
    """Return the path; a relative one starts at the directory of the configuration file."""
    return Path((info.context or {}).get("directory", ""), path)


def _readable(path: Path, info: ValidationInfo) -> Path:
    path = from_directory(path, info)
    try:
        path.open("rb").close()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    return path


def _secret(path: object, info: ValidationInfo) -> str:
    """Return the content of the file at `path`, without one newline at its end.

    Errors do not name the path: somebody may have put the secret itself there.
    """
    if not isinstance(path, str | Path):
        raise ValueError("should be a path")  # pydantic collects ValueError only
    try:
        text = from_directory(Path(path), info).read_text("utf-8").removesuffix("\n")
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("names a file that is not UTF-8 text") from None
    if not text:
        raise ValueError("names an empty file")
    return text


File = Annotated[Path, AfterValidator(_readable)]  # exists and may be read

# In the environment a list is one string, its items separated by commas.
split = BeforeValidator(
    lambda value: (
        [item.strip() for item in value.split(",") if item.strip()]
        if isinstance(value, str)
        else value
    )
)
Strings = Annotated[tuple[str, ...], split]

Row = tuple[str, str]  # label and text: a line of what `busmon check-config` shows


def checked(check: Callable[[str], object]) -> AfterValidator:
    """Refuse a text for which `check` raises ValueError; otherwise keep it as it is."""

    def validate(text: str) -> str:
        check(text)
        return text

    return AfterValidator(validate)


def matching(pattern: str, problem: str) -> AfterValidator:
    """Refuse a text that does not match as a whole; the error says what the problem is."""

    def check(text: str) -> None:
        if not re.fullmatch(pattern, text):
            raise ValueError(problem)

    return checked(check)


def _details(problems: ValidationError) -> Iterator[InitErrorDetails]:
    """Yield what pydantic found, without the input, in the form in which it is raised again."""
    for error in problems.errors(include_url=False, include_context=False, include_input=False):
        yield _detail(error["loc"], error["msg"], error["type"])


def _detail(place: tuple[int | str, ...], text: str, kind: str = "value_error") -> InitErrorDetails:
    return InitErrorDetails(type=PydanticCustomError(kind, text), loc=place, input=None)


class Section(BaseModel):
    """A table of the configuration file. A file `x_file` can hold each secret `x`."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @classmethod
    def secrets(cls) -> list[str]:
        """Return the names of the settings that are secret."""
        fields = cls.model_fields.items()
        return [
            name
            for name, field in fields
            if SecretStr in (field.annotation, *get_args(field.annotation))
        ]

    @classmethod
    def conflicts(cls, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:  # noqa: ARG003 - for subclasses
        """Yield setting and problem if the given settings do not fit together.

        A problem of the whole section has "" for a setting.
        """
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _validate(
        cls, data: Any, handler: ModelWrapValidatorHandler[Self], info: ValidationInfo
    ) -> Self:
        # This wraps the validation of the fields. A validator after it would not run if one
        # field is wrong, and so would not report what is wrong between the others.
        if not isinstance(data, Mapping):
            return handler(data)
        given = {key: value for key, value in data.items() if value is not None}
        problems = list(cls._read_secrets(given, info))
        unread = {str(problem["loc"][0]).removesuffix("_file") for problem in problems}
        for key, text in cls.conflicts(given):
            place = (key if key in data else f"{key}_file",) if key else ()
            problems.append(_detail(place, text))
        try:
            section = handler(given)
        except ValidationError as error:
            problems += (one for one in _details(error) if unread.isdisjoint(one["loc"][:1]))
        if problems:
            raise ValidationError.from_exception_data(cls.__name__, problems, hide_input=True)
        return section

    @classmethod
    def _read_secrets(
        cls, given: dict[str, Any], info: ValidationInfo
    ) -> Iterator[InitErrorDetails]:
        for name in cls.secrets():
            if given.get(name) == "":
                yield _detail((name,), "should not be empty")
            path = given.pop(key := f"{name}_file", None)
            if path is None:
                continue
            if name in given:
                yield _detail((key,), f"should not be given together with {name}")
                continue
            try:
                given[name] = _secret(path, info)
            except ValueError as error:
                given[name] = "unknown"  # so that it is not reported as missing, too
                yield _detail((key,), str(error))


def together(given: Mapping[str, Any], one: str, other: str) -> Iterator[tuple[str, str]]:
    """Yield a conflict if only one of two settings is given."""
    if (one in given) != (other in given):
        present, absent = (one, other) if one in given else (other, one)
        yield present, f"needs {absent} too"
