"""W&B's server as far as its client needs it, on loopback: it answers, and keeps what arrived.

It is written from what wandb 0.31 and wandb-workspaces 0.4 ask, not from the service: a report or
a run that arrives here is well-formed for the client, no more.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

ENTITY, PROJECT, VIEW = "someone", "sweepmore", "VmlldzoxMjM="


@dataclass
class Stub:
    """What the client sent. ``refused`` runs, by id, are answered with an error that is final.

    ``deleted``: somebody has deleted the report.
    """

    url: str = ""
    projects: tuple[str, ...] = (PROJECT,)
    refused: set[str] = field(default_factory=set)
    deleted: bool = False
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    streams: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def env(self) -> dict[str, str]:
        """For the client: this server, and a key of the right length."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": "0" * 40, "NO_PROXY": "127.0.0.1"}

    def variables_of(self, operation: str) -> list[dict[str, Any]]:
        return [variables for name, variables in self.asked if name == operation]

    def runs_begun(self) -> list[str]:
        """Ids, once for each upload; a run's later updates name its place in the storage."""
        begun = [v for v in self.variables_of("UpsertBucket") if v.get("id") is None]
        return [variables["name"] for variables in begun]

    def streamed(self, run: str, name: str) -> list[dict[str, Any]]:
        """The lines of a run's file, such as ``wandb-history.jsonl``, that were streamed."""
        chunks = [body.get("files", {}).get(name, {}) for body in self.streams.get(run, [])]
        return [json.loads(line) for chunk in chunks for line in chunk.get("content", ())]

    def answer(self, operation: str, variables: Mapping[str, Any]) -> dict[str, Any]:
        known: Mapping[str, Callable[[Stub, Mapping[str, Any]], dict[str, Any]]] = ANSWERS
        if operation not in known:
            return {"errors": [{"message": f"the stub knows no {operation}"}]}
        return known[operation](self, variables)


def _data(**fields: Any) -> dict[str, Any]:
    return {"data": fields}


def _viewer(stub: Stub, variables: Mapping[str, Any]) -> dict[str, Any]:
    viewer: dict[str, Any] = {
        "id": "viewer",
        "username": ENTITY,
        "entity": ENTITY,
        "name": ENTITY,
        "flags": "{}",
    }
    viewer |= {"email": "", "admin": False, "deletedAt": None, "teams": {"edges": []}}
    return _data(viewer={**viewer, "apiKeys": {"edges": []}})


def _projects(stub: Stub, variables: Mapping[str, Any]) -> dict[str, Any]:
    nodes = [
        {"id": name, "name": name, "entityName": ENTITY, "createdAt": "2026-01-01T00:00:00Z",
         "isBenchmark": False, "user": None}
        for name in stub.projects
    ]  # fmt: skip
    page = {"endCursor": None, "hasNextPage": False}
    edges = [{"node": node, "cursor": str(k)} for k, node in enumerate(nodes)]
    return _data(models={"edges": edges, "pageInfo": page})


def _project_id(stub: Stub, variables: Mapping[str, Any]) -> dict[str, Any]:
    if variables["projectName"] not in stub.projects:
        return _data(project=None)
    return _data(project={"id": "project", "internalId": "42"})


def _artifact(stub: Stub, variables: Mapping[str, Any]) -> dict[str, Any]:
    name = variables["input"]["artifactCollectionName"]
    artifact = {"id": f"artifact-{name}", "state": "PENDING",
                "artifactSequence": {"id": f"sequence-{name}", "latestArtifact": None}}  # fmt: skip
    return _data(createArtifact={"artifact": artifact})


def _manifest(stub: Stub, variables: Mapping[str, Any]) -> dict[str, Any]:
    of = variables.get("artifactID") or variables.get("artifactManifestID")
    file = {"id": "file", "uploadUrl": f"{stub.url}/storage/{of}/manifest.json",
            "uploadHeaders": []}  # fmt: skip
    manifest = {"artifactManifest": {"id": of, "file": file}}
    return _data(createArtifactManifest=manifest, updateArtifactManifest=manifest)


def _artifact_files(stub: Stub, variables: Mapping[str, Any]) -> dict[str, Any]:
    edges: list[dict[str, Any]] = [
        {"node": {"storagePath": None, "uploadHeaders": [], "uploadMultipartUrls": None,
                  "uploadUrl": f"{stub.url}/storage/{file['artifactID']}/{file['name']}",
                  "artifact": {"id": file["artifactID"]}}}
        for file in variables["input"]["artifactFiles"]
    ]  # fmt: skip
    return _data(createArtifactFiles={"files": {"edges": edges}})


def _commit(stub: Stub, variables: Mapping[str, Any]) -> dict[str, Any]:
    return _data(commitArtifact={"artifact": {"id": variables["artifactID"], "digest": "digest"}})


def _saved_view(stub: Stub, variables: Mapping[str, Any]) -> dict[str, Any]:
    """A report as it was saved last, unless somebody has deleted it."""
    if stub.deleted or not stub.variables_of("upsertView"):
        return _data(view=None)
    view = _view(stub, stub.variables_of("upsertView")[-1])["data"]["upsertView"]["view"]
    return _data(view={**view, "createdAt": "2026-01-01T00:00:00Z"})


def _view(stub: Stub, variables: Mapping[str, Any]) -> dict[str, Any]:
    project = {"id": "project", "name": variables["projectName"],
               "entityName": variables["entityName"]}  # fmt: skip
    kept = {name: variables[name] for name in ("type", "name", "displayName", "description")}
    view = {"id": VIEW, "project": project, "spec": variables["spec"], **kept}
    view["updatedAt"] = "2026-01-01T00:00:00Z"
    return _data(upsertView={"view": view, "inserted": True})


def _run(stub: Stub, variables: Mapping[str, Any]) -> dict[str, Any]:
    name = variables["name"]
    if name in stub.refused:
        return {"errors": [{"message": "the stub refuses this run", "path": ["upsertBucket"]}]}
    project = {"id": "project", "name": variables["project"],
               "entity": {"id": "entity", "name": ENTITY}}  # fmt: skip
    bucket = {"id": f"storage-{name}", "name": name, "displayName": variables["displayName"],
              "description": None, "config": variables["config"], "sweepName": None,
              "project": project, "historyLineCount": 0}  # fmt: skip
    return _data(upsertBucket={"bucket": bucket, "inserted": True})


def _resumed(stub: Stub, variables: Mapping[str, Any]) -> dict[str, Any]:
    """What is there of a run that continues: its rows, its config and its summary."""
    name = variables["name"]
    begun = [v for v in stub.variables_of("UpsertBucket") if v["name"] == name and v["config"]]
    if not begun:
        return _data(model=None)
    rows = stub.streamed(name, "wandb-history.jsonl")
    summary = stub.streamed(name, "wandb-summary.json")
    bucket = {"id": f"storage-{name}", "name": name, "displayName": begun[-1]["displayName"],
              "summaryMetrics": json.dumps(summary[-1] if summary else {}),
              "config": begun[-1]["config"], "tags": begun[-1]["tags"], "notes": None,
              "wandbConfig": json.dumps({"t": 1}), "group": begun[0]["groupName"], "jobType": None,
              "logLineCount": 0, "historyLineCount": len(rows), "eventsLineCount": 0,
              "historyTail": json.dumps([json.dumps(row) for row in rows[-1:]]),
              "eventsTail": "[]"}  # fmt: skip
    model = {"id": "project", "name": PROJECT, "entity": {"id": "entity", "name": ENTITY}}
    return _data(model={**model, "bucket": bucket})


def _files(stub: Stub, variables: Mapping[str, Any]) -> dict[str, Any]:
    run = variables["run"]
    files = [{"name": name, "uploadUrl": f"{stub.url}/storage/{run}/{name}"}
             for name in variables["files"]]  # fmt: skip
    return _data(createRunFiles={"runID": run, "uploadHeaders": [], "files": files})


ANSWERS = {
    "Viewer": _viewer,
    "GetDefaultEntity": _viewer,
    "GetProjects": _projects,
    "ProjectInternalId": _project_id,
    "upsertView": _view,
    "SpecificReport": _saved_view,
    "CreateArtifact": _artifact,
    "CreateArtifactManifest": _manifest,
    "UpdateArtifactManifest": _manifest,
    "CreateArtifactFiles": _artifact_files,
    "CommitArtifact": _commit,
    "UpsertBucket": _run,
    "RunResumeStatus": _resumed,
    "CreateRunFiles": _files,
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # the client keeps its connections
    stub: ClassVar[Stub]

    def do_POST(self) -> None:
        content = self._body()
        if self.path == "/graphql":
            body = json.loads(content)
            operation = body.get("operationName") or _named(body["query"])
            self.stub.asked.append((operation, body.get("variables") or {}))
            self._reply(self.stub.answer(operation, body.get("variables") or {}))
            return
        if self.path.endswith("/file_stream"):  # /files/ENTITY/PROJECT/RUN/file_stream
            run = self.path.split("/")[-2]
            self.stub.streams.setdefault(run, []).append(json.loads(content))
        self._reply({})  # also to what W&B measures of itself

    def do_PUT(self) -> None:
        self.stub.files[self.path.removeprefix("/storage/")] = self._body()
        self._reply({})

    def _body(self) -> bytes:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(content) if self.headers["Content-Encoding"] == "gzip" else content

    def _reply(self, content: Mapping[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *words: object) -> None:
        """Silence: stderr is the test's."""


def _named(query: str) -> str:
    """The operation's name, of ``query Name(…) {`` or ``mutation Name(…) {``."""
    return query.split(None, 1)[1].split("(")[0].split("{")[0].strip()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that ends drops its connections: no traceback between the tests' results."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextlib.contextmanager
def serve() -> Iterator[Stub]:
    """A server on a free port until the block ends."""
    stub = Stub()
    handler = type("Handler", (_Handler,), {"stub": stub})
    with _Server(("127.0.0.1", 0), handler) as server:
        stub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield stub
        finally:
            server.shutdown()
            thread.join()
