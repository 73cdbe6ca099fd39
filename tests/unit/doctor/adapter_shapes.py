"""Templates in the shapes of the web adapter's examples, and what the doctor has to say of each: data for the tests.

They are ours: each has what its shape is about (runtime, handler, adapter, processor, variables, image), and nothing of
the app. `off` is the verdict as it is, `on` the one with SnapStart on published versions: rule ids, nothing else.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field

X86, ARM = "LambdaAdapterLayerX86:25", "LambdaAdapterLayerArm64:25"
ECR = "public.ecr.aws/awsguru/aws-lambda-adapter"
SCRIPT = "#!/bin/sh\nexec "
NOTE, LOST, REFUSED = {"not-attached"}, {"hooks-are-lost"}, {"runtime-without-snapstart"}


@dataclass(frozen=True)
class Shape:
    """One template. files: beside it, by name, all executable. attaches: whether snapext can be attached to it.

    left: what is left to do once it is attached.
    """

    name: str
    properties: str
    files: dict[str, str] = field(default_factory=dict)
    off: frozenset[str] = frozenset(NOTE)
    on: frozenset[str] = frozenset(LOST)
    attaches: bool = True
    left: frozenset[str] = frozenset()
    metadata: str = ""
    more: str = ""
    globals: str = "Timeout: 10"

    def template(self, *, snap_start: bool = False) -> str:
        """The template's text."""
        on = "SnapStart: {ApplyOn: PublishedVersions}\nAutoPublishAlias: live\n" if snap_start else ""
        function = "Type: AWS::Serverless::Function\n"
        function += f"Metadata: {{{self.metadata}}}\n" if self.metadata else ""
        function += "Properties:\n" + textwrap.indent(on + self.properties, "  ")
        return (
            "Transform: AWS::Serverless-2016-10-31\nGlobals:\n  Function:\n"
            + textwrap.indent(self.globals, "    ")
            + "\nResources:\n  App:\n"
            + textwrap.indent(function, "    ")
            + textwrap.indent(self.more, "  ")
        )


def zipped(name, runtime, run, *variables, layer=X86, handler="run.sh", wrapper="/opt/bootstrap", extra="", **known):
    """A function as a zip with the adapter's layer. run: what its script executes; None: the build makes the script."""
    listed = [f"AWS_LAMBDA_EXEC_WRAPPER: {wrapper}", *variables] if wrapper else list(variables)
    properties = f"CodeUri: app/\nHandler: {handler}\nRuntime: {runtime}\n{extra}"
    if layer == ARM:
        properties += "Architectures: [arm64]\n"
    if listed:
        properties += "Environment:\n  Variables:\n" + "".join(f"    {variable}\n" for variable in listed)
    properties += f"Layers:\n  - !Sub arn:aws:lambda:${{AWS::Region}}:753240598075:layer:{layer}\n"
    files = {"app/Makefile": "build-App:\n\ttrue\n"} if run is None else {f"app/{handler}": f"{SCRIPT}{run}\n"}
    return Shape(name, properties, files, **{key: _frozen(value) for key, value in known.items()})


def python(name, run, *variables, runtime="python3.12", **known):
    """The same for Python: snapext can be attached."""
    return zipped(name, runtime, run, *variables, **known)


def refused(name, runtime, run, *variables, **known):
    """A runtime that has no SnapStart as a zip: there is nothing to attach."""
    return zipped(name, runtime, run, *variables, on=REFUSED, attaches=False, **known)


def other(name, runtime, run, *variables, **known):
    """A runtime with SnapStart and without Python: there is nothing to attach to the zip."""
    return zipped(name, runtime, run, *variables, **{"on": NOTE, "attaches": False, **known})


def image(name, base, cmd, *variables, adapter="0.9.1", env="PORT=8080", extra="", more="", **known):
    """An image function with its Dockerfile; adapters before 1.1 ask for no restore, and Lambda wants the label."""
    listed = "".join(f"    {variable}\n" for variable in variables)
    properties = f"PackageType: Image\nMemorySize: 256\n{extra}"
    properties += f"Environment:\n  Variables:\n{listed}" if listed else ""
    dockerfile = (
        f"FROM {base}\nCOPY --from={ECR}:{adapter} /lambda-adapter /opt/extensions/lambda-adapter\n"
        f"ENV {env}\nWORKDIR /var/task\nCOPY . .\n{cmd}\n"
    )
    on = LOST if adapter >= "1.1" else LOST | {"image-without-label"}
    return Shape(
        name,
        properties,
        {"app/Dockerfile": dockerfile},
        more=more,
        metadata="Dockerfile: Dockerfile, DockerContext: ./app, DockerTag: v1",
        **{key: _frozen(value) for key, value in {"on": on, **known}.items()},
    )


def _frozen(value):
    return frozenset(value) if isinstance(value, set) else value


ALPINE, SLIM = "public.ecr.aws/docker/library/node:20-slim", "public.ecr.aws/docker/library/python:3.12-slim"
UVICORN = "python -m uvicorn --port=$PORT main:app"
URL = "FunctionUrlConfig: {AuthType: NONE, InvokeMode: RESPONSE_STREAM}\n"
STREAM = "AWS_LWA_INVOKE_MODE: response_stream"
QUEUE = "Queue:\n  Type: AWS::SQS::Queue\n  Properties: {VisibilityTimeout: 900}\n"
PATHS = ("AWS_LWA_SNAPSTART_BEFORE_CHECKPOINT_PATH: /before", "AWS_LWA_SNAPSTART_AFTER_RESTORE_PATH: /after")
TCP = "AWS_LWA_READINESS_CHECK_PROTOCOL: TCP"
SHAPES = [
    refused("aspnet-mvc-zip", "dotnet6", "dotnet App.dll", "PORT: 8080"),
    refused("aspnet-webapi-zip", "dotnet6", "./App", handler="AspNetApp", globals="Timeout: 29\nTracing: Active"),
    python("bedrock-agent-zip", UVICORN, TCP, "PORT: 8000"),
    refused("bun-graphql-zip", "provided.al2023", "bun server.js", "PORT: 3000", layer=ARM),
    refused("bun-graphql-streaming-zip", "provided.al2023", None, STREAM, layer=ARM, metadata="BuildMethod: makefile"),
    other("deno-zip", "java11", None, "DENO_DIR: /tmp", "PORT: 8000", handler="app", metadata="BuildMethod: makefile"),
    refused("expressjs-zip", "nodejs18.x", "node app.js", "RUST_LOG: info", extra="Architectures: [x86_64]\n"),
    refused("fastapi-zip", "python3.11", UVICORN, "PORT: 8000"),
    python("fastapi-response-streaming-zip", UVICORN, STREAM, "PORT: 8000", extra=URL),
    python(
        "fastapi-lmi",
        UVICORN,
        "PORT: 8000",
        extra="AutoPublishAlias: live\nCapacityProviderConfig: {Arn: !GetAtt Provider.Arn}\n",
        more="Provider:\n  Type: AWS::Serverless::CapacityProvider\n",
    ),
    python("fastapi-snapstart-zip", UVICORN, "PORT: 8000", *PATHS, left={"adapter-hook-paths"}),
    python("fasthtml-zip", "python main.py", "PORT: 5001", runtime="python3.13"),
    python("fasthtml-response-streaming-zip", "python main.py", STREAM, "PORT: 5001", extra=URL),
    python("fastmcp-zip", "python server.py", "AWS_LWA_READINESS_CHECK_PATH: /healthz", "PORT: 8000"),
    python("flask-zip", "gunicorn -b=:$PORT -w=1 app:app", "PORT: 8080", runtime="python3.12"),
    refused("gin-zip", "provided.al2", "./main", handler="bootstrap", wrapper="", layer=ARM),
    refused("go-httpbin-zip", "provided.al2023", "./bin", handler="bootstrap", wrapper=""),
    other(
        "javalin-zip",
        "java17",
        "java -jar app.jar",
        "AWS_LWA_PORT: 8081",
        "AWS_LWA_READINESS_CHECK_PORT: 8081",
        layer=ARM,
    ),
    refused("laravel-zip", "provided.al2", "php-fpm", "PORT: 8080", handler="bootstrap", wrapper=""),
    refused("nextjs-zip", "nodejs20.x", "node server.js", "PORT: 8000", extra="MemorySize: 512\n"),
    refused("nginx-zip", "provided.al2", "nginx -g 'daemon off;'", "REMOVE_BASE_PATH: /v1"),
    other("nginx-snapstart-zip", "java11", "nginx -g 'daemon off;'", wrapper="/var/task/run.sh"),
    refused("php-zip", "provided.al2", "php-fpm & exec nginx", "PORT: 8080"),
    other("php-snapstart-zip", "java11", "php-fpm & exec nginx", "SOURCE: zip", wrapper="/var/task/run.sh"),
    refused("remix-zip", "nodejs18.x", "node server.js", "PORT: 3000"),
    refused(
        "rust-actix-web-zip", "provided.al2023", None, handler="bootstrap", metadata="BuildMethod: rust-cargolambda"
    ),
    refused("rust-axum-zip", "provided.al2023", None, handler="bootstrap", wrapper="", layer=ARM),
    refused(
        "rust-axum-https-zip",
        "provided.al2",
        None,
        *("PORT: 8443", "AWS_LWA_ENABLE_TLS: true", "AWS_LWA_TLS_SERVER_NAME: api.example.com"),
        handler="bootstrap",
        wrapper="",
        layer=ARM,
    ),
    other("springboot-zip", "java17", "java -cp .:lib/* App", "READINESS_CHECK_PATH: /healthz"),
    other("springboot-response-streaming-zip", "java21", "java -cp .:lib/* App", STREAM, extra=URL),
    refused("sveltekit-ssr-zip", "nodejs20.x", "node build/index.js", "PORT: 3000"),
    refused("symfony-zip", "provided.al2", "php-fpm & exec nginx", "APP_ENV: prod", handler="bootstrap", wrapper=""),
    refused("yoga-graphql-zip", "nodejs20.x", "node index.mjs", "PORT: 4000", layer=ARM),
    refused("yoga-graphql-streaming-zip", "nodejs20.x", "node index.mjs", STREAM, layer=ARM, extra=URL),
    image("aspnet-mvc", "mcr.microsoft.com/dotnet/aspnet:8.0", 'CMD ["dotnet", "App.dll"]'),
    image("bedrock-agent", SLIM, "CMD exec uvicorn --port=$PORT main:app", TCP, env="PORT=8000"),
    image("expressjs", ALPINE, 'CMD ["node", "index.js"]', env="PORT=7000"),
    image("fastapi", SLIM, "CMD exec uvicorn --port=$PORT main:app", env="PORT=8000"),
    image("fastapi-background-tasks", SLIM, "CMD exec uvicorn --port=$PORT main:app", TCP, "PYTHONUNBUFFERED: true"),
    image("fastapi-response-streaming", SLIM, "CMD exec uvicorn --port=$PORT main:app", STREAM, extra=URL),
    image(
        *("fastapi-snapstart", SLIM, "CMD exec uvicorn --port=$PORT main:app", *PATHS),
        adapter="1.1.0",
        env="PORT=8000",
        left={"adapter-hook-paths"},
    ),
    image("fasthtml", SLIM, 'CMD ["python", "main.py"]', env="PORT=5001"),
    image("fastmcp", SLIM, 'CMD ["python", "server.py"]', env="PORT=8000 AWS_LWA_INVOKE_MODE=response_stream"),
    image("flask", SLIM, "CMD exec gunicorn -b=:$PORT -w=1 app:app"),
    image("nginx", "public.ecr.aws/docker/library/nginx:1.27", "CMD exec nginx -g 'daemon off;'"),
    image("php", "public.ecr.aws/docker/library/php:8.3-fpm", "CMD exec nginx -g 'daemon off;'", env="PORT 8080"),
    image("springboot", "public.ecr.aws/amazonlinux/amazonlinux:2023", 'CMD ["java", "-jar", "app.jar"]'),
    image("sqs-expressjs", ALPINE, 'CMD ["node", "index.js"]', "RUST_LOG: info", more=QUEUE),
    image("nextjs", ALPINE, "CMD exec node server.js", env="PORT=3000"),
]
