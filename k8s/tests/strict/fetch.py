"""Writes what judge.py judges by, into one file: the schemas of kinds that Kubernetes itself does not have, and the labels that somebody reads.

    fetch.py FOLDER OUTPUT

FOLDER holds sources.yaml, which says what is read in which Go module, and own.yaml. The go command downloads the modules into its own cache. Exit code
77: they cannot be had here, and the last line says why. A module that is not the one whose hash is written down is no such reason: it is an error.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

CANNOT_RUN = 77
# No other version of Go, and no setting of whoever runs this.
ENVIRONMENT = {"GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": ""}


def cannot(reason):
    print(reason, file=sys.stderr)
    sys.exit(CANNOT_RUN)


def unpacked(source):
    """The folder of a module, once its hash is the one that is written down."""
    module = source["module"]
    try:
        output = subprocess.run(
            ["go", "mod", "download", "-json", module],
            env=os.environ | ENVIRONMENT,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    except FileNotFoundError:
        cannot("go is missing (1.26 or newer): see https://go.dev/dl")
    try:
        answer = json.loads(output.stdout)
    except ValueError:
        answer = {"Error": output.stderr}
    if answer.get("Sum", source["hash"]) != source["hash"]:
        sys.exit(f"{module} has the hash {answer['Sum']}, not {source['hash']}")
    if "Dir" not in answer:
        said = " ".join(answer.get("Error", "go said nothing").split())
        # Go says so when what it downloaded is not what others got.
        if "SECURITY ERROR" in said:
            sys.exit(f"{module}: {said}")
        cannot(f"the module {module} cannot be had: {said}")
    return Path(answer["Dir"])


def kinds(text, source, written_as):
    """The served versions of a CustomResourceDefinition."""
    definition = yaml.load(text, Loader=yaml.CSafeLoader)["spec"]
    for version in definition["versions"]:
        if version["served"]:
            yield {
                "apiVersion": written_as or f"{definition['group']}/{version['name']}",
                "kind": definition["names"]["kind"],
                "namespaced": definition["scope"] == "Namespaced",
                "schema": version["schema"]["openAPIV3Schema"],
                "source": source,
            }


def check_name(name, made, text, source):
    """Refuses a name that the module does not make any more. What is between words may differ: gofmt aligns."""
    text = " ".join(text.split())
    for part in made:
        if part not in text:
            sys.exit(f"{source}: {name} is not what it was: `{part}` is not there")


def main():
    folder, output = map(Path, sys.argv[1:])
    sources = yaml.safe_load((folder / "sources.yaml").read_text())
    own = yaml.safe_load((folder / "own.yaml").read_text())
    known = [kind | {"source": "own.yaml"} for kind in own["kinds"]]
    names = set(own["names"])
    for source in sources:
        module, root = source["module"], unpacked(source)
        for kind in source.get("kinds", []):
            known.extend(kinds((root / kind["file"]).read_text(), module, kind.get("as")))
        for name, where in source.get("names", {}).items():
            check_name(name, where["made"], (root / where["file"]).read_text(), f"{module}, {where['file']}")
            names.add(name)
    output.write_text(json.dumps({"kinds": known, "names": sorted(names)}))


main()
