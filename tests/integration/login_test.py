"""The login of the operator's page, where it is bound for other machines too: TLS, a real Chromium, and what attacks it.

Without Chromium and its driver the tests that need them say skipped.
"""
import contextlib
import http.client
import http.server
import os
import pathlib
import re
import shutil
import ssl
import threading

import pytest
from certificates import Authority
from harness import Node, Pacs, send, small_image, wait_until

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from page_test import click, has, shoot, start_browser, text

needs_browser = pytest.mark.skipif(not shutil.which("chromedriver"), reason="Debian's chromium-driver is not installed")
SHARED, ANNAS = "f00dfacef00dfacef00dfacef00dface", "anna-0123456789abcdef"


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """Bound to every address, with TLS; one study whose overlay a PACS has refused."""
    folder = tmp_path_factory.mktemp("login")
    authority = Authority(folder / "ca")
    certificate, key = authority.issue("skelex", alternative="IP:127.0.0.1,DNS:localhost")
    (folder / "token").write_text(SHARED + "\n")
    (folder / "tokens").write_text(f"# Who may.\nanna: {ANNAS}\n")
    for secret in ("token", "tokens"):
        os.chmod(folder / secret, 0o600)
    with Pacs(answer=lambda dataset: 0xA900) as pacs:
        node = Node(folder / "node", {"http.tls.certificate_file": certificate, "http.tls.key_file": key,
                                      "http.token_file": folder / "token", "http.tokens_file": folder / "tokens"}, pacs.port)
        node.settings["http.bind"] = f"0.0.0.0:{node.page}"
        with node:
            node.context, node.image = authority.client(), small_image("KNEE")
            assert send(node, [node.image]) == [0]
            wait_until(lambda: [d for d in node.deliveries() if d["state"] == "parked"], "a delivery is parked", 60)
            yield node


def ask(node, method, path, body=None, **headers):
    """(status, body, headers) of one request that no browser made."""
    connection = http.client.HTTPSConnection("localhost", node.page, context=node.context, timeout=10)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    content = answer.read().decode()
    connection.close()
    return answer.status, content, answer.headers


def session(node, token=ANNAS):
    status, _, headers = ask(node, "POST", "/login", f"token={token}", Sec_Fetch_Site="same-origin")
    assert status == 200
    return headers["Set-Cookie"].split(";")[0]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.accept_insecure_certs = True  # The authority is the test's own.
    driver = start_browser(tmp_path_factory.mktemp("browser"), options)
    yield driver
    driver.quit()


def door(browser, node, address=""):
    browser.get("about:blank")
    browser.get(f"https://localhost:{node.page}/{address}")


def enter(browser, token):
    field = browser.find_element("id", "login-token")
    field.clear()
    field.send_keys(token, "\ue007")


def test_without_a_login_there_is_a_door_and_nothing_behind_it_is_seen(node):
    status, door, headers = ask(node, "GET", "/")
    assert status == 200 and "Log in" in door and headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert node.image.StudyInstanceUID not in door and "SKELEX on port" not in door
    for path in ("/api/studies", "/api/now", "/api/events", "/app.js", "/metrics", "/readyz",
                 f"/api/instances/{node.image.SOPInstanceUID}/preview.png"):
        assert ask(node, "GET", path)[0] == 401, path


def test_a_session_opens_what_a_token_does_and_the_token_as_a_cookie_does_not(node):
    cookie = session(node)
    name, value = cookie.split("=")
    assert name == f"__Host-skelex-{node.page}" and re.fullmatch("[0-9a-f]{64}", value)
    assert ask(node, "GET", "/api/studies", Cookie=cookie)[0] == 200
    assert ask(node, "GET", "/api/session", Cookie=cookie)[1] == '{"user":"anna","session":true,"needed":true}\n'
    for wrong in (f"{name}={ANNAS}", f"{name}={value[:-1]}", f"{name}={value}0", f"skelex-{node.page}={value}", value):
        assert ask(node, "GET", "/api/studies", Cookie=wrong)[0] == 401, wrong
    assert ask(node, "GET", "/api/studies", Authorization=f"Bearer {value}")[0] == 401
    assert ask(node, "POST", "/logout", Cookie=cookie)[0] == 403, "no other site logs anybody out"
    assert ask(node, "GET", "/api/studies", Cookie=cookie)[0] == 200
    assert ask(node, "POST", "/logout", Cookie=cookie, Origin=f"https://localhost:{node.page}")[0] == 200
    assert ask(node, "GET", "/api/studies", Cookie=cookie)[0] == 401
    assert ANNAS not in node.log() and value not in node.log()
    assert 'event=http_login user="anna"' in node.log() and 'event=http_logout user="anna"' in node.log()


def test_a_post_from_elsewhere_changes_nothing(node):
    cookie = session(node)
    parked = [d for d in node.deliveries() if d["state"] == "parked"]
    target = f"/api/deliveries/{parked[0]['id']}/release"
    for headers in ({}, {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": f"https://localhost:{node.page + 1}"},
                    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site", "Origin": f"https://localhost:{node.page}"}):
        status, words, _ = ask(node, "POST", target, Cookie=cookie, **headers)
        assert status == 403 and "from the page itself" in words, headers
    assert [d for d in node.deliveries() if d["state"] == "parked"] == parked


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """Another site on this machine, whose page asks the node to release something."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>Elsewhere</title><a href='https://localhost:%d/#/deliveries'>link</a>" % self.server.node.page)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def another_site(node, same_site):
    """The address of one that a browser takes for the same site (it sends the cookie there and says so), or for another."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    server.node = node
    if same_site:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(node.settings["http.tls.certificate_file"], node.settings["http.tls.key_file"])
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"{'https://localhost' if same_site else 'http://127.0.0.1'}:{server.server_address[1]}/"
    finally:
        server.shutdown()


@needs_browser
def test_who_logs_in_sees_the_page_releases_and_logs_out(browser, node):
    door(browser, node, "#/deliveries?state=parked")
    has(browser, "#login", "Log in")
    assert browser.execute_script("return document.activeElement.id") == "login-token", "it can be written at once"
    shoot(browser, "login-dark", theme="dark")
    shoot(browser, "login-light", theme="light")
    shoot(browser, "login-narrow", 420, 800, theme="light")
    browser.set_window_size(1440, 900)
    enter(browser, "guessed-token-of-somebody")
    has(browser, "#login-problem", "not this node's")
    shoot(browser, "login-refused", theme="light")
    enter(browser, ANNAS)
    has(browser, ".deliveries tbody", "parked")
    assert browser.current_url == f"https://localhost:{node.page}/#/deliveries?state=parked", "where it was asked for"
    wait_until(lambda: text(browser, "#health") == "Ready", "it is live", 20)
    assert browser.execute_script("return document.cookie") == "", "no script reads the session"
    assert browser.execute_script("return JSON.stringify([{...sessionStorage}, {...localStorage}])").find(ANNAS) == -1
    assert browser.execute_script("return document.getElementById('token').title") == "Log out anna"
    cookie, = browser.get_cookies()
    assert cookie["httpOnly"] and cookie["secure"] and cookie["sameSite"] == "Strict" and "expiry" not in cookie

    attempts = lambda: {d["id"]: d["attempts"] for d in node.deliveries() if d["state"] == "parked"}
    before = attempts()
    target = f"https://localhost:{node.page}/api/deliveries/{min(before)}/release"
    for same_site in (True, False):
        with another_site(node, same_site) as site:  # Its page's POST reaches the node, and is refused.
            browser.get(site)
            said = browser.execute_async_script(
                "const done = arguments[1]; fetch(arguments[0], {method: 'POST', mode: 'no-cors', credentials: 'include'}).then(r => done(r.type), e => done(String(e)))", target)
            assert attempts() == before and (said == "opaque" or not same_site), said
    with another_site(node, same_site=False) as site:
        browser.get(site)
        click(browser, "a")  # Who comes by a link is still logged in.
        has(browser, ".deliveries tbody", "parked")
        wait_until(lambda: browser.current_url == f"https://localhost:{node.page}/#/deliveries", "and where the link led", 10)

    click(browser, ".release")
    has(browser, "#toast", "is sent again")
    click(browser, "#token")
    has(browser, "#login", "Log in")
    door(browser, node)
    has(browser, "#login", "Log in")
    assert not browser.get_cookies()


@contextlib.contextmanager
def proxy(node, token):
    """Knows who asks, and adds the token for them. Yields its port."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def handle_one(self):
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            inner = http.client.HTTPConnection("127.0.0.1", node.page, timeout=30)
            inner.request(self.command, self.path, self.rfile.read(int(self.headers.get("Content-Length", 0))),
                          {**headers, "Authorization": f"Bearer {token}", "Connection": "close"})
            answer = inner.getresponse()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                while part := answer.read1(65536):
                    self.wfile.write(part)
        do_GET = do_POST = handle_one

        def log_message(self, *arguments):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@needs_browser
def test_where_a_proxy_says_who_asks_the_page_changes_without_a_login(browser, tmp_path):
    (tmp_path / "tokens").write_text(f"anna: {ANNAS}\n")
    settings = {"http.tokens_file": tmp_path / "tokens", "http.behind_proxy": "true"}
    with Pacs(answer=lambda dataset: 0xA900) as pacs, Node(tmp_path / "node", settings, pacs.port) as node:
        assert send(node, [small_image("KNEE")]) == [0]
        wait_until(lambda: [d for d in node.deliveries() if d["state"] == "parked"], "a delivery is parked", 60)
        refused = node.run("losses", *node.arguments(), check=False)
        assert refused.returncode != 0 and "the command line needs http.token_file" in refused.stderr, refused.stderr
        with proxy(node, ANNAS) as port:
            browser.get(f"http://localhost:{port}/#/deliveries?state=parked")
            has(browser, ".deliveries tbody", "parked")
            wait_until(lambda: browser.execute_script("return document.getElementById('token').title") == "You are anna", "it knows who asks", 10)
            click(browser, ".release")
            has(browser, "#toast", "is sent again")
            assert not browser.execute_script("return document.getElementById('token-dialog').open")
            outside = http.client.HTTPConnection("localhost", port, timeout=30)
            outside.request("POST", "/api/deliveries/1/release", headers={"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"})
            assert outside.getresponse().status == 403


@needs_browser
def test_a_page_whose_login_has_ended_asks_for_another(browser, node):
    door(browser, node)
    enter(browser, ANNAS)
    wait_until(lambda: text(browser, "#health") == "Ready", "it is live", 20)
    cookie, = browser.get_cookies()
    assert ask(node, "POST", "/logout", Cookie=f"{cookie['name']}={cookie['value']}", Sec_Fetch_Site="same-origin")[0] == 200
    has(browser, "#login", "Log in")


@needs_browser
def test_the_door_is_for_everybody_and_asks_for_nothing_outside(browser, node):
    axe = pytest.importorskip("axe_core_python")
    door(browser, node)
    has(browser, "#login", "Log in")
    browser.execute_script((pathlib.Path(axe.__file__).parent / "axe.min.js").read_text())
    for theme in ("dark", "light"):
        browser.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
        found = browser.execute_async_script("const done = arguments[0]; axe.run().then(r => done(r.violations), e => done([{id: String(e), nodes: []}]))")
        assert not found, [(one["id"], [node["html"][:160] for node in one["nodes"]]) for one in found]
    asked = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert asked and all(name.startswith(f"https://localhost:{node.page}/") for name in asked), asked
