"""STOW-RS against Orthanc's DICOMweb plugin, and against servers that refuse or want a token."""
import http.server
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import urllib.request

from harness import Node, free_port, send, small_image, wait_until

SETTINGS = {"delivery.retry_first": "200 ms", "delivery.retry_max": "1 s", "delivery.connect_timeout": "2 s"}


def configured(url, **more):
    """The demo's routes send to the PACS, which is down; the originals go to the web server."""
    settings = {**SETTINGS, "dicomweb.web.url": url, "forward": "[{match: {from: xray1}, send_to: [web]}]",
                "routes": "[{name: hands, match: {modality: [CR], body_part: HAND}, tasks: [anomaly, fracture], send_to: [web]}]"}
    return settings | {f"dicomweb.web.{key}": value for key, value in more.items()}


def states(node):
    return {delivery["state"] for delivery in node.deliveries()}


def test_orthanc_gets_originals_and_results(tmp_path):
    page = free_port()
    storage = str(tmp_path / "orthanc")
    (tmp_path / "orthanc.json").write_text(json.dumps({
        "StorageDirectory": storage, "IndexDirectory": storage, "HttpPort": page, "DicomPort": free_port(),
        "AuthenticationEnabled": False, "RemoteAccessAllowed": False,
        "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"], "DicomWeb": {"Enable": True, "Root": "/dicom-web/"}}))
    program = shutil.which("Orthanc", path="/usr/sbin:/usr/bin:" + os.environ.get("PATH", ""))

    def call(path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{page}{path}", timeout=20) as answer:
                return json.loads(answer.read())
        except OSError:
            return None

    image = small_image("HAND")
    with Node(tmp_path / "node", configured(f"http://127.0.0.1:{page}/dicom-web/studies")) as node:
        assert send(node, [image]) == [0]
        wait_until(lambda: any("connect to 127.0.0.1" in d["text"] for d in node.deliveries()), "it is not there yet")
        with open(tmp_path / "orthanc.log", "ab") as log:
            orthanc = subprocess.Popen([program, tmp_path / "orthanc.json"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_until(lambda: call("/system"), "Orthanc answers", process=orthanc)
            wait_until(lambda: len(node.deliveries()) == 3 and states(node) == {"delivered"}, "all stored")
            kinds = sorted(call(f"/instances/{one}/simplified-tags")["Modality"] for one in call("/instances"))
            assert kinds == ["CR", "OT", "SR"]
            assert {d["text"] for d in node.deliveries()} == {"HTTP 200 OK"}
        finally:
            orthanc.terminate()
            orthanc.wait(60)


class Server:
    """Answers each POST with the next of `answers` (status, body), the last one for ever; keeps what it was asked."""

    def __init__(self, answers, context=None):
        self.port, self.log = free_port(), []
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                server.log.append((dict(self.headers), body))
                status, answer = answers[min(len(server.log), len(answers)) - 1]
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer.encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def test_a_server_that_is_busy_gets_the_same_file_again_and_one_that_refuses_is_named(tmp_path):
    def failed(reason):
        return json.dumps({"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [reason]}}]}})

    with Server([(503, "later"), (409, failed(0xA700)), (409, failed(0xA900))]) as server:
        with Node(tmp_path / "node", configured(f"http://127.0.0.1:{server.port}/studies")) as node:
            assert send(node, [small_image("CHEST")]) == [0]
            wait_until(lambda: states(node) == {"parked"}, "parked")
            assert node.deliveries()[0]["text"] == "HTTP 409, failure reason A900H, data set does not match SOP class"
            stored = next((node.directory / "store/objects").rglob("*.dcm")).read_bytes()
        assert len(server.log) == 3 and all(stored in body for _, body in server.log)


def test_a_server_that_answers_before_it_has_read_all_is_heard(tmp_path):
    """As one does that finds the object too long: it answers and closes, and what was still to be written breaks."""
    listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    heads = []

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            heads.append(connection.recv(4096))
            connection.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            connection.close()

    threading.Thread(target=serve, daemon=True).start()
    port = listener.getsockname()[1]
    try:
        with Node(tmp_path / "node", configured(f"http://[::1]:{port}/studies")) as node:
            assert send(node, [small_image("CHEST", side=3000)]) == [0]
            wait_until(lambda: states(node) == {"parked"}, "parked")
            assert node.deliveries()[0]["text"].startswith("HTTP 413 Content Too Large")
    finally:
        listener.close()
    assert f"Host: [::1]:{port}\r\n".encode() in heads[0] + heads[-1]


def test_a_token_goes_out_over_tls_only(tmp_path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost", "-keyout", tmp_path / "key", "-out", tmp_path / "crt"],
                   check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    (tmp_path / "token").write_text("the token\n")
    more = {"token_file": tmp_path / "token"}
    refused = Node(tmp_path / "plain", configured("http://localhost/studies", **more))
    done = refused.run("check", *refused.arguments(), check=False)
    assert done.returncode == 2 and "a token wants https:" in done.stderr
    with Server([(200, "{}")], context) as server:
        settings = configured(f"https://localhost:{server.port}/studies", **more, **{"tls.ca_file": tmp_path / "crt"})
        with Node(tmp_path / "node", settings) as node:
            assert send(node, [small_image("CHEST")]) == [0]
            wait_until(lambda: node.deliveries() and states(node) == {"delivered"}, "stored")
        assert server.log[0][0]["Authorization"] == "Bearer the token"
