"""Judges every object of the files as a strict API server would.

    judge.py VERSION KNOWN FILE...

An object of a kind of Kubernetes' own is judged by the schemas of that version (kubernetes-validate), any other by what fetch.py wrote into KNOWN; one
that neither knows is wrong. Prints a line for each object, `valid` or `wrong`, and ends with 1 when one was wrong.

Of a CustomResourceDefinition it takes: fields that are unknown, required, or of a wrong type; enums, patterns, bounds and the like; keys of lists; the
served versions; whether a namespace is wanted. Not: formats, and rules in CEL (x-kubernetes-validations).
"""

import functools
import json
import re
import sys

import jsonschema
import yaml
from kubernetes_validate import utils

# All of Kubernetes' definitions are read for each object otherwise.
utils.schema_contents = functools.cache(utils.schema_contents)


class Loader(yaml.CSafeLoader):
    """Refuses a key that is there twice, as the API server does."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"the key {key} is there twice: {node.start_mark}")
        return super().construct_mapping(node, deep)


Loader.add_constructor(
    "tag:yaml.org,2002:map",
    lambda loader, node: loader.construct_mapping(node, deep=True),
)


def check_list(validator, kind, items, schema):
    """What the API server asks of lists that are sets, or maps by some fields of their items."""
    if not isinstance(items, list) or kind not in ("set", "map"):
        return
    fields = schema.get("x-kubernetes-list-map-keys")
    seen = []
    for item in items:
        key = item if kind == "set" else [item.get(field) for field in fields] if isinstance(item, dict) else None
        if key in seen:
            yield jsonschema.ValidationError(f"{key} is there twice")
        seen.append(key)


# A pattern of Go's that is none of Python's. No field that we render has one.
GOES_PATTERN = "pattern of Go's"


def refuse_pattern(_validator, pattern, _text, _schema):
    yield jsonschema.ValidationError(f"the pattern {pattern} must be translated from Go to Python, in judge.py")


# A structural schema is written in the words of JSON schema's fourth draft.
Validator = jsonschema.validators.extend(
    jsonschema.Draft4Validator, {"x-kubernetes-list-type": check_list, GOES_PATTERN: refuse_pattern}
)


def closed(schema):
    """A structural schema that takes no field which it does not name. What stands below allOf, anyOf, oneOf and not adds conditions, never fields."""
    schema = dict(schema)
    if schema.pop("x-kubernetes-int-or-string", False):
        schema["type"] = ["integer", "string"]
    if "pattern" in schema:
        try:
            re.compile(schema["pattern"])
        except re.error:
            schema[GOES_PATTERN] = schema.pop("pattern")
    if "items" in schema:
        schema["items"] = closed(schema["items"])
    if "properties" in schema:
        schema["properties"] = {name: closed(field) for name, field in schema["properties"].items()}
    if isinstance(schema.get("additionalProperties"), dict):
        schema["additionalProperties"] = closed(schema["additionalProperties"])
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if schema.get("type") == "object" and not is_open:
        schema["additionalProperties"] = False
    if schema.pop("nullable", False) and "type" in schema:
        wanted = schema["type"]
        schema["type"] = [*(wanted if isinstance(wanted, list) else [wanted]), "null"]
    return schema


class Kind:
    """A kind that Kubernetes itself does not have."""

    def __init__(self, known):
        schema = dict(known["schema"], type="object")
        # They are there, whatever the definition says of them; metadata is judged apart.
        common = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {}}
        schema["properties"] = dict(schema.get("properties", {})) | common
        schema = closed(schema)
        schema["properties"]["metadata"] = {"type": "object"}
        schema["required"] = sorted({*schema.get("required", []), "metadata"})
        Validator.check_schema(schema)
        self.validator = Validator(schema)
        self.is_namespaced = known["namespaced"]
        self.source = known["source"]

    def faults(self, thing, version):
        for error in self.validator.iter_errors(thing):
            yield error
        metadata = thing.get("metadata")
        if not isinstance(metadata, dict):
            return
        if self.is_namespaced != ("namespace" in metadata):
            yield jsonschema.ValidationError("a namespace is wanted" if self.is_namespaced else "it lies in no namespace")
        # Metadata is the same for all kinds; that of a small one of Kubernetes' own stands for it.
        utils.validate({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}, version, strict=True)


def names(thing, path=()):
    """The names of labels and annotations, where objects have them and where they are selected by."""
    if isinstance(thing, list):
        for item in thing:
            yield from names(item, path)
    if not isinstance(thing, dict):
        return
    for key, value in thing.items():
        has_names = path[-1:] == ("metadata",) and key in ("labels", "annotations") or key == "matchLabels"
        if (has_names or path == ("spec",) and key == "selector") and isinstance(value, dict):
            yield from (name for name in value if name not in ("matchLabels", "matchExpressions"))
        if path == ("spec",) and key == "selector" and isinstance(value, str):
            # Skupper's are texts.
            yield from (part.split("=")[0] for part in value.split(","))
        if key == "matchExpressions" and isinstance(value, list):
            yield from (rule.get("key") for rule in value if isinstance(rule, dict))
        yield from names(value, (*path, key))


class Judge:
    def __init__(self, version, known):
        self.version = version
        self.kinds = {(kind["apiVersion"], kind["kind"]): Kind(kind) for kind in known["kinds"]}
        self.names = set(known["names"])

    def judged_by(self, thing):
        """Who knows the object; raises what is wrong with it."""
        if not isinstance(thing, dict) or not all(isinstance(thing.get(key), str) for key in ("apiVersion", "kind")):
            raise jsonschema.ValidationError("it is no object: apiVersion and kind are missing")
        kind = self.kinds.get((thing["apiVersion"], thing["kind"]))
        if kind:
            for error in kind.faults(thing, self.version):
                raise error
        else:
            utils.validate(thing, self.version, strict=True)
        for name in names(thing):
            # Cilium's selectors say where a label comes from.
            if str(name).removeprefix("k8s:") not in self.names:
                raise jsonschema.ValidationError(f"{name}: nobody is known to read this label or annotation")
        return kind.source if kind else f"Kubernetes {self.version}"

    def judge(self, thing, place):
        """Prints what is to be said of an object, and tells whether it is valid."""
        try:
            print(f"valid: {place}: {self.judged_by(thing)}")
            return True
        except utils.SchemaNotFoundError as error:
            print(f"wrong: {place}: no schema knows {error.kind} of {error.api_version}")
        except jsonschema.ValidationError as error:
            at = ".".join(map(str, error.absolute_path))
            print(f"wrong: {place}: {at}{': ' if at else ''}{error.message}")
        return False


def main():
    version, known, *files = sys.argv[1:]
    with open(known) as file:
        judge = Judge(version, json.load(file))
    right = True
    for path in files:
        try:
            with open(path) as file:
                things = list(yaml.load_all(file, Loader=Loader))
        except yaml.YAMLError as error:
            print(f"wrong: {path}: {' '.join(str(error).split())}")
            right = False
            continue
        for number, thing in enumerate(things):
            kind = thing.get("kind") if isinstance(thing, dict) else None
            right &= judge.judge(thing, f"{path}#{number} {kind}")
    sys.exit(0 if right else 1)


main()
