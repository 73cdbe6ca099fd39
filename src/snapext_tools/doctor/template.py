"""The functions of a SAM or CloudFormation template, once for each way in which its conditions can be decided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from snapext_tools.doctor.conditions import conditions_in, decide, defaults, scenarios
from snapext_tools.doctor.dockerfile import read_dockerfile
from snapext_tools.doctor.package import Package, find_foreign, handler_script, look_into, open_package
from snapext_tools.doctor.publishing import provisioned, published
from snapext_tools.doctor.settings import (
    VARIABLES,
    Facts,
    Function,
    ImageFile,
    Opaque,
    Place,
    Script,
    Setting,
    SourceError,
)
from snapext_tools.doctor.tree import Item, merge, places_in, read_tree, words

SERVERLESS, LAMBDA = "AWS::Serverless::Function", "AWS::Lambda::Function"


def read_template(path: Path) -> list[Function]:
    """Every function in the file, in its order; a function that depends on conditions once for each of their values.

    Raises:
        SourceError: the file cannot be read, is not a template, or has no function.
    """
    template, syntax = read_tree(path)
    return functions_of(template, syntax, str(path), path.parent)


def functions_of(template: Item, syntax: str, file: str, folder: Path) -> list[Function]:
    """The functions of a tree. folder: where the paths in it start. Raises SourceError."""
    resources = template.children("Resources")
    if not resources:
        raise SourceError(f"{file} is not a SAM or CloudFormation template: it has no Resources")
    found = [
        function
        for name, item in resources.items()
        if _type(item) in (SERVERLESS, LAMBDA)
        for function in _Reader(template, syntax, file, folder, name).functions()
    ]
    loops = [name for name in resources if name.startswith("Fn::ForEach::")]
    unread = f"{loops[0]} is not read: its values are not in the template" if loops else ""
    if not found:
        reason = f"; {unread}" if unread else ""
        raise SourceError(f"{file} has no function: neither {SERVERLESS} nor {LAMBDA}{reason}")
    if unread:
        found[0] = replace(found[0], notes=(unread,))
    return found


class _Reader:
    """Reads one function of a template."""

    def __init__(self, template: Item, syntax: str, file: str, folder: Path, name: str) -> None:
        self._template, self._syntax, self._file, self._folder, self._name = template, syntax, file, folder, name
        self._resource = template.children("Resources")[name]
        self._serverless = _type(self._resource) == SERVERLESS

    def functions(self) -> Iterator[Function]:
        resource = self._resource
        own = resource.child("Properties") or Item({}, f"{resource.path}.Properties", resource.line)
        general = self._template.child("Globals", "Function") if self._serverless else None
        others = [
            item
            for item in self._template.children("Resources").values()
            if str(_type(item)).startswith(("AWS::Lambda::Version", "AWS::Lambda::Alias"))
        ]
        names = dict.fromkeys([*conditions_in(own), *conditions_in(general)])
        for item in others:
            names |= dict.fromkeys(conditions_in(item))
            condition = item.child("Condition")
            if condition is not None and isinstance(condition.value, str):
                names[condition.value] = None
        for truth in scenarios(self._template, list(names)) or [{}]:
            used: dict[str, str] = {}
            known = defaults(self._template)
            decided = decide(own, truth, known, used) or Item({}, own.path, own.line)
            common = decide(general, truth, known, used)
            yield self._function(merge(common, decided) if common is not None else decided, decided, truth, used)

    def _function(self, properties: Item, own: Item, truth: Mapping[str, bool], used: Mapping[str, str]) -> Function:
        image = scalar(properties.child("PackageType")) == "Image" or properties.child("ImageUri") is not None
        image = image or properties.child("Code", "ImageUri") is not None
        variables = {
            k: setting(item) for k, item in properties.children(*VARIABLES).items() if not k.startswith("Fn::")
        }
        places = dict(places_in(properties, self._file))
        image_file = self._image_file(properties, variables) if image else None
        if isinstance(image_file, ImageFile):
            for name in image_file.variables.keys() - variables.keys():
                places[(*VARIABLES, name)] = image_file.places[name]
            variables = {**image_file.variables, **variables}
        return Function(
            self._name,
            "the template",
            variables,
            Place(self._file, own.path, own.line),
            self._syntax,
            self._facts(properties, variables, truth, image=image, image_file=image_file),
            _elsewhere(properties, image=image, image_file=image_file),
            places,
            truth,
            used,
        )

    def _facts(
        self,
        properties: Item,
        variables: Mapping[str, Setting],
        truth: Mapping[str, bool],
        *,
        image: bool,
        image_file: ImageFile | str | None,
    ) -> Facts:
        code = None if image else self._code(properties)
        package = "the code is in an image" if image else open_package(self._folder, code)
        handler = scalar(properties.child("Handler"))
        here = Place(self._file, f"{self._resource.path}.Properties", self._resource.line)
        storage = properties.child("FileSystemConfigs")
        architectures = properties.child("Architectures")
        first = architectures
        if architectures is not None and isinstance(architectures.value, list):
            first = next(iter(architectures.value), None)
        return Facts(
            serverless=self._serverless,
            kind="serverless" if self._serverless else "cloudformation",
            image=image,
            runtime=None if image else scalar(properties.child("Runtime")),
            snap_start=scalar(properties.child("SnapStart", "ApplyOn")),
            published=published(self._template, self._name, properties, truth, serverless=self._serverless),
            layers=tuple(_layers(self._template, properties)),
            package=None if image else look_into(package),
            foreign=find_foreign(self._build_folder() if image else package),
            architecture=scalar(first) if isinstance(first, Item) else None,
            handler=None if image else handler,
            ephemeral_mb=scalar(properties.child("EphemeralStorage", "Size")),
            file_system="FileSystemConfigs" if storage is not None and storage.value != [] else "",
            provisioned=provisioned(self._template, self._name, properties, truth),
            script=None if image else self._script(handler_script(package, handler, here, variables)),
            image_file=image_file,
            code_folder=None if isinstance(package, str) else package.path,
        )

    def _code(self, properties: Item) -> Setting | None:
        """Where the code is; in CDK's output the resource names its asset, or only the asset's key in S3."""
        asset = scalar(self._resource.child("Metadata", "aws:asset:path"))
        if isinstance(asset, str):
            return asset
        key = scalar(properties.children("Code").get("S3Key"))
        if isinstance(key, str):
            name = f"asset.{key.rpartition('/')[2].removesuffix('.zip')}"
            return next((each for each in (f"{name}.zip", name) if (self._folder / each).exists()), None)
        if self._serverless and properties.child("InlineCode") is not None:
            return None
        code = properties.child("CodeUri" if self._serverless else "Code")
        return None if code is not None and isinstance(code.value, dict) else scalar(code)

    def _script(self, script: Script | str | None) -> Script | str | None:
        """A script that a build of SAM's makes is not in the folder of the source."""
        method = scalar(self._resource.child("Metadata", "BuildMethod"))
        if method is not None and isinstance(script, Script) and not script.exists:
            return "sam build makes the package; judge .aws-sam/build/template.yaml, too"
        return script

    def _build_folder(self) -> Package | str:
        """What an image is built from, as far as the template names it."""
        metadata = self._resource.children("Metadata")
        return open_package(
            self._folder, scalar(metadata.get("DockerContext")) or scalar(metadata.get("aws:asset:path"))
        )

    def _image_file(self, properties: Item, variables: Mapping[str, Setting]) -> ImageFile | str:
        metadata = self._resource.children("Metadata")
        named = scalar(metadata.get("Dockerfile")) or scalar(metadata.get("aws:asset:dockerfile-path"))
        context = scalar(metadata.get("DockerContext")) or scalar(metadata.get("aws:asset:path")) or "."
        if named is None and "DockerContext" not in metadata and "aws:asset:path" not in metadata:
            return "the template names no Dockerfile (Metadata.Dockerfile)"
        if isinstance(named, Opaque) or isinstance(context, Opaque):
            return "the Dockerfile's name depends on the deployment"
        path = self._folder / context / (named or "Dockerfile")
        if not path.exists():
            return f"the Dockerfile {path} does not exist"
        target = scalar(metadata.get("DockerBuildTarget"))
        image_file = read_dockerfile(path, variables, target if isinstance(target, str) else None)
        overridden = properties.child("ImageConfig", "Command") or properties.child("ImageConfig", "EntryPoint")
        if isinstance(image_file, ImageFile) and overridden is not None:
            return f"ImageConfig replaces the start command of {path}"
        return image_file


def _elsewhere(properties: Item, *, image: bool, image_file: ImageFile | str | None) -> str:
    """Why a variable that is not listed may still be set."""
    variables = properties.child(*VARIABLES)
    if variables is not None and isinstance(variables.value, Opaque):
        return f"is in {variables.value.text}, and the template does not give its value"
    if any(key.startswith("Fn::") for key in properties.children(*VARIABLES)):
        return "may come from a macro among the variables, and the template does not give its value"
    if isinstance(image_file, ImageFile) and not image_file.trusted:
        return f"is not set in the template or the Dockerfile; its base image {image_file.base} may set it"
    if image and not isinstance(image_file, ImageFile):
        return "is not set in the template; the image may set it"
    return ""


def _layers(template: Item, properties: Item) -> Iterator[Setting]:
    """Each layer with everything the template says about it: a layer of the template has a resource."""
    layers = properties.child("Layers")
    if layers is None:
        return
    for item in layers.value if isinstance(layers.value, list) else [layers]:
        layer = setting(item)
        if isinstance(layer, Opaque):
            referred = template.children("Resources").get(layer.words.partition(".")[0])
            yield layer if referred is None else f"{layer.words} {words(referred)}"
        else:
            yield layer


def _type(item: Item) -> Setting | None:
    return scalar(item.child("Type")) if isinstance(item.value, dict) else None


def setting(item: Item) -> Setting:
    """A scalar as it is. A list or a mapping in place of a scalar cannot be judged."""
    return item.value if isinstance(item.value, str | Opaque) else Opaque("not a single value", words(item))


def scalar(item: Item | None) -> Setting | None:
    """The same of an item that may be absent."""
    return None if item is None else setting(item)
