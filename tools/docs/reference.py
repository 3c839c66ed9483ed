"""docs/reference: what can be imported, from its docstrings."""

import logging
import re
from typing import Any, NamedTuple

import griffe
import skerry

from tools.docs.page import ROOT, page, table


class Page(NamedTuple):
    """A page of public names, each of the package itself or of a module in it."""

    file: str
    title: str
    names: tuple[str, ...]


PAGES = (
    Page("app", "App", ("App",)),
    Page("function", "Function", ("Function",)),
    Page("function_call", "FunctionCall", ("FunctionCall",)),
    Page("cls", "Classes", ("Cls", "parameter", "method", "enter", "exit")),
    Page("concurrency", "Concurrency and batching", ("concurrent", "batched")),
    Page("policies", "Retries and schedules", ("Retries", "Cron", "Period")),
    Page("image", "Image", ("Image", "FilePatternMatcher")),
    Page("secret", "Secret", ("Secret", "_objects.infos.SecretInfo")),
    Page("bucket", "CloudBucketMount", ("CloudBucketMount",)),
    Page("environment", "Environment", ("Environment",)),
    Page("dict", "Dict", ("Dict", "_objects.named.Manager", "_objects.infos.DictInfo")),
    Page("queue", "Queue", ("Queue", "_objects.infos.QueueInfo")),
    Page(
        "volume",
        "Volume",
        (
            "Volume",
            "_volume.batch.BatchUpload",
            "_volume.volume.VolumeManager",
            "_volume.values.FileEntry",
            "_volume.values.VolumeVersion",
            "_volume.values.VolumeInfo",
        ),
    ),
    Page("sandbox", "Sandbox", ("Sandbox",)),
    Page(
        "sandbox_parts",
        "What sandboxes have",
        (
            "_sandbox.files.SandboxFilesystem",
            "_sandbox.process.ContainerProcess",
            "_sandbox.reader.StreamReader",
            "_sandbox.writer.StreamWriter",
            "_sandbox.kinds.StreamType",
            "Probe",
            "EgressSecret",
            "Tunnel",
            "SandboxSnapshot",
            "_sandbox.main_output.SandboxLogsManager",
            "_sandbox.sidecars.SidecarManager",
            "_sandbox.sidecars.SidecarContainer",
        ),
    ),
    Page(
        "sandbox_code",
        "Code and Git in sandboxes",
        (
            "_sandbox.interpreting.RunCode",
            "_sandbox.interpreting.CodeContext",
            "_sandbox.code.CodeExecution",
            "_sandbox.code.CodeResult",
            "_sandbox.code.CodeTable",
            "_sandbox.code.CodeError",
            "_sandbox.code.CodeEvent",
            "_sandbox.git.SandboxGit",
            "_sandbox.git.GitStatus",
            "_sandbox.git.GitFile",
            "_sandbox.git.GitBranch",
        ),
    ),
    Page("context", "Context", ("is_local", "current_input_id", "current_function_call_id", "interact", "enable_output")),
    Page("logs", "Logs", ("_objects.logs.AppLogsManager", "_objects.logs.FunctionLogsManager", "_objects.logs.FunctionCallLogsManager")),
    Page("client", "Client", ("Client",)),
)
# Pages of whole modules: their docstring, and every class and function in them.
MODULES = (("exceptions", "exception"), ("config", "config"), ("types", "types"), ("experimental", "experimental"))

INTRO = "Generated from docstrings. What is not here is in the [table of the interface](../api.md), with when it comes."
TWINS = {"twin", "static_twin", "generator_twin", "dual", "static_dual", "dual_iterator", "static_dual_iterator", "direct", "static_direct"}


def pages() -> dict[str, str]:
    """Return the pages by file."""
    logging.getLogger("griffe").setLevel(logging.ERROR)
    package: Any = griffe.load("skerry", search_paths=[ROOT / "sdk-python/src"], docstring_parser="google")
    made = {f"docs/reference/{p.file}.md": _names(package, p) for p in PAGES}
    made |= {f"docs/reference/{file}.md": _module(package[name], name) for file, name in MODULES}
    links = [*((p.file, p.title) for p in PAGES), *((file, f"skerry.{name}") for file, name in MODULES), ("commands", "The skerry command")]
    index = "\n".join(f"- [{title}]({file}.md)" for file, title in links)
    made["docs/reference/README.md"] = page("Reference", "docstrings of sdk-python", INTRO, index)
    return made


def _names(package: Any, wanted: Page) -> str:
    parts: list[str] = []
    for name in wanted.names:
        home = name if name.startswith("_") else f"{_home(name)}.{name}"
        parts += _object(package[home], f"skerry.{name.rpartition('.')[2]}")
    return page(wanted.title, "docstrings of sdk-python/src/skerry", *parts)


def _home(name: str) -> str:
    homes: dict[str, str] = vars(skerry)["_HOMES"]
    return homes[name]


def _module(module: Any, name: str) -> str:
    members = [m for m in module.members.values() if not (m.is_alias or m.is_module) and not m.name.startswith("_") and m.docstring]
    parts = [_text(module.docstring.value)] if module.docstring else []
    if name == "exception":
        classes = [m for m in members if m.is_class]
        parts.append(table(["exception", "meaning"], [[f"`{m.name}`", _text(m.docstring.value)] for m in classes]))
        members = [m for m in members if not m.is_class]
    for member in members:
        parts += _object(member, f"skerry.{name}.{member.name}")
    return page(f"skerry.{name}", f"docstrings of sdk-python/src/skerry/{name}.py", *parts)


def _object(found: Any, public: str) -> list[str]:
    if not found.is_class:
        return [f"## {public}", *_member(found, public.rpartition(".")[2])]
    parts = [f"## {public}"]
    constructor = found.all_members.get("__init__")
    if found.docstring and any(s.kind.value == "parameters" for s in found.docstring.parsed) and constructor is not None:
        parts.append(_code(f"{public}({_parameters(constructor)})"))
    parts += _docstring(found)
    fields = [m for m in found.members.values() if m.is_attribute and m.docstring and "property" not in m.labels and m.name[0] != "_"]
    if fields:
        parts.append(table(["field", "meaning"], [[f"`{m.name}`: `{m.annotation or m.value}`", _text(m.docstring.value)] for m in fields]))
    for name, member in found.all_members.items():
        shown = member.target if member.is_alias else member
        if name.startswith("_") or shown in fields or not shown.docstring or shown.docstring.value == "Not available yet.":
            continue
        parts += [f"### {public.removeprefix('skerry.')}.{name}", *_member(shown, name)]
    return parts


def _member(member: Any, name: str) -> list[str]:
    """Return the signature and text of a function or property."""
    if not member.is_function:
        return [_code(f"{name}: {member.annotation}") if member.annotation else "", *_docstring(member)]
    twin = any(str(d.value) in TWINS for d in member.decorators)
    returns = f" -> {member.returns}" if member.returns else ""
    note = f"Asynchronous: `{'async for ... in ' if 'Iterator' in returns else 'await '}{name}.aio(...)`." if twin else ""
    return [_code(f"{name}({_parameters(member)}){returns}"), *_docstring(member), note]


def _parameters(function: Any) -> str:
    words: list[str] = []
    star = False
    for parameter in function.parameters:
        kind = parameter.kind.value
        if parameter.name in ("self", "cls", "not_allowed"):
            star = star or parameter.name == "not_allowed"
            words += ["*"] if parameter.name == "not_allowed" else []
            continue
        prefix = {"variadic positional": "*", "variadic keyword": "**"}.get(kind, "")
        if kind == "keyword-only" and not star:
            words.append("*")
        star = star or kind in ("keyword-only", "variadic positional")
        annotation = f": {parameter.annotation}" if parameter.annotation is not None else ""
        default = "" if parameter.default is None or prefix else f"{' = ' if annotation else '='}{parameter.default}"
        words.append(f"{prefix}{parameter.name}{annotation}{default}")
    line = ", ".join(words)
    return line if len(line) < 90 else "\n    " + ",\n    ".join(words) + ",\n"


def _code(text: str) -> str:
    return f"```python\n{text}\n```"


def _docstring(member: Any) -> list[str]:
    if not member.docstring:
        return []
    parts: list[str] = []
    for section in member.docstring.parsed:
        if section.kind.value == "text":
            parts.append(_text(section.value))
        elif section.kind.value in ("parameters", "attributes"):
            items = [item for item in section.value if item.name not in ("not_allowed", "later")]
            parts.append("\n".join(f"- `{item.name}`: {' '.join(_text(item.description).split())}" for item in items))
    return parts


def _text(text: str) -> str:
    """Return a docstring as Markdown: its roles and literal blocks are those of reStructuredText."""
    text = re.sub(r":(?:class|meth|func|mod|exc|attr):`([^`]+)`", r"`\1`", text)
    text = text.replace("``", "`")
    text = re.sub(r"^=+\s+=+\n(.*?)\n=+\s+=+\n(.*?)\n=+\s+=+$", _simple_table, text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"::\n\n((?:    .*\n?|\n)+)", _block, text)


def _block(found: re.Match[str]) -> str:
    lines = [line.removeprefix("    ") for line in found[1].strip("\n").splitlines()]
    kind = "python" if any("=" in line or "@" in line or "." in line for line in lines) and "└" not in found[1] else "text"
    rest = "\n".join(lines)
    return f"\n\n```{kind}\n{rest}\n```\n\n"


def _simple_table(found: re.Match[str]) -> str:
    def split(line: str) -> list[str]:
        return re.split(r"\s{2,}|(?<=`)\s", line.strip(), maxsplit=1)

    return table(split(found[1]), [split(line) for line in found[2].splitlines()])
