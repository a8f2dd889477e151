"""Print requirements that pyproject.toml lists, one a line: of `build-system`, or of an extra such as `test`."""

import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib


def main(name: str) -> None:
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text()
    project = tomllib.loads(text)
    if name == "build-system":
        found = project["build-system"]["requires"]
    else:
        found = project["project"]["optional-dependencies"][name]
    print("\n".join(found))


if __name__ == "__main__":
    main(sys.argv[1])
