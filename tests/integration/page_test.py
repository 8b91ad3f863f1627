"""The operator's page in a real Chromium without a window, on a real node.

What a person on call does is walked through: a study arrives and its row appears by itself; its overlay is shown beside
the radiograph; a delivery that the PACS refused is released and leaves. Screenshots go to $NODE_SCREENSHOTS, if set.
Without Chromium and its driver the tests say skipped.
"""
import os
import pathlib
import shutil
import signal
import socket

import pytest
from harness import Node, Pacs, fresh_uid, modality, radiograph, send, small_image, wait_until, RADIOGRAPHS

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.expected_conditions import alert_is_present

pytestmark = pytest.mark.skipif(not shutil.which("chromedriver"), reason="Debian's chromium-driver is not installed")
TOKEN = "only-for-this-test"


def start_browser(directory, options=None):
    options = options or webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                     "--window-size=1440,900", f"--user-data-dir={directory}/chromium"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = start_browser(tmp_path_factory.mktemp("browser"))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    """A node with a token, and a PACS that refuses overlays while `refusing`."""
    directory = tmp_path_factory.mktemp("page")
    (directory / "token").write_text(TOKEN + "\n")
    refusing = {"on": False}

    def answer(dataset):
        return 0xA900 if refusing["on"] and dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7" else 0x0000
    with Pacs(answer=answer) as pacs, Node(directory, {"http.token_file": directory / "token"}, pacs.port) as node:
        node.refusing, node.pacs = refusing, pacs
        yield node


def page(browser, node, address="#/studies"):
    browser.get("about:blank")
    browser.get(f"http://127.0.0.1:{node.page}/{address}")
    wait_until(lambda: text(browser, "#health") == "Ready", "the page says that the node is ready", 20)


def log_in(browser, node):
    page(browser, node)
    assert browser.execute_async_script(
        "const done = arguments[1]; fetch('/login', {method: 'POST', body: new URLSearchParams({token: arguments[0]})}).then(r => done(r.status))", TOKEN) == 200


def all_of(browser, selector):
    return browser.find_elements(By.CSS_SELECTOR, selector)


def texts(browser, selector):
    """What each fitting element shows, read in one go: a live page may draw them anew between two calls."""
    return browser.execute_script("return [...document.querySelectorAll(arguments[0])].map(element => element.innerText.trim())", selector)


def text(browser, selector):
    return (texts(browser, selector) or [""])[0]


def has(browser, selector, words):
    return wait_until(lambda: words in text(browser, selector), f"{selector} says {words}: {text(browser, selector)}", 40)


def click(browser, selector):
    def once():
        try:
            all_of(browser, selector)[0].click()
            return True
        except Exception:  # Not there yet, or drawn anew in between.
            return False
    wait_until(once, f"{selector} can be clicked", 20)


def shoot(browser, name, width=1440, height=900, theme=None):
    if not os.environ.get("NODE_SCREENSHOTS"):
        return
    browser.set_window_size(width, height)
    if theme:
        browser.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
    folder = pathlib.Path(os.environ["NODE_SCREENSHOTS"])
    folder.mkdir(parents=True, exist_ok=True)
    wait_until(lambda: browser.execute_script("return [...document.images].every(i => i.complete)"), "pictures are there")
    browser.save_screenshot(str(folder / f"{name}.png"))


def test_a_study_arrives_is_shown_and_its_parked_overlay_is_released(browser, hospital):
    node = hospital
    page(browser, node)
    assert "No image has been received yet" in text(browser, ".list-pane")
    browser.execute_script("window.notReloaded = true")

    node.refusing["on"] = True
    image = radiograph("03_1_femur", AccessionNumber="ACC-2026-0117")
    send(node, [image])
    has(browser, ".list tbody", "ACC-2026-0117")
    has(browser, ".list tbody", "1/1")
    wait_until(lambda: "1 parked" in text(browser, ".list tbody"), "the refused overlay is parked", 60)
    has(browser, "#parked-card", "1")

    # Its way, its picture, its findings.
    click(browser, ".list tbody .row-link")
    has(browser, ".study-head h2", "ACC-2026-0117")
    assert len(all_of(browser, ".way li.done")) >= 5
    assert {"Fracture"} <= {name.splitlines()[0] for name in texts(browser, ".finding-name")}
    judged = {found["shown"] for line in node.instances(image.StudyInstanceUID) for found in line["findings"] if "level" in found}
    assert judged and judged <= set(texts(browser, ".finding .figure")), "a score as the report writes it"
    wait_until(lambda: all_of(browser, ".overlay"), "an overlay", 20)
    sizes = wait_until(lambda: browser.execute_script(
        "const p = [...document.querySelectorAll('.stage img')]; return p.every(i => i.naturalWidth) && p.map(i => [i.naturalWidth, i.naturalHeight])"),
        "both pictures are loaded", 30)
    assert len(sizes) == 2 and sizes[0] == sizes[1] and min(sizes[0]) > 300, "one lies over the other"
    differ = browser.execute_script("""
        const data = [...document.querySelectorAll('.stage img')].map(image => {
          const canvas = Object.assign(document.createElement('canvas'), {width: image.naturalWidth, height: image.naturalHeight});
          const context = canvas.getContext('2d'); context.drawImage(image, 0, 0);
          return context.getImageData(0, 0, canvas.width, canvas.height).data; });
        const grey = d => { for (let i = 0; i < d.length; i += 4) if (d[i] !== d[i+1] || d[i] !== d[i+2]) return false; return true; };
        return [grey(data[0]), grey(data[1])];""")
    assert differ == [True, False], "the radiograph is grey, the overlay is not"
    all_of(browser, ".slider")[0].send_keys(Keys.END)
    assert browser.execute_script("return getComputedStyle(document.querySelector('.overlay')).clipPath") == "inset(0px 0px 0px 100%)"
    click(browser, ".viewer-tools .chip:last-child")
    assert browser.execute_script("return document.querySelector('.slider').value") == "0"
    click(browser, ".viewer-tools .chip:nth-child(2)")
    shoot(browser, "study-dark", theme="dark")
    shoot(browser, "study-light", theme="light")
    shoot(browser, "study-narrow", 420, 1800, theme="light")
    shoot(browser, "study-wall", 2560, 1440, theme="dark")
    browser.set_window_size(1440, 900)

    # Why it went where it went.
    click(browser, ".explain summary")
    has(browser, ".explanations", "Rule lower-limb takes it")
    has(browser, ".explanations", "shoulder")

    # The peer's own words, and the button.
    has(browser, ".deliveries", "A900")
    has(browser, ".deliveries", "tried")
    node.refusing["on"] = False
    click(browser, ".release")
    has(browser, "#token-dialog", "Log in")
    field = all_of(browser, "#token-input")[0]
    field.send_keys("wrong", Keys.ENTER)
    has(browser, "#token-problem", "not this node's")
    field.send_keys(TOKEN, Keys.ENTER)
    wait_until(lambda: not browser.execute_script("return document.getElementById('token-dialog').open"), "the dialog closes")
    wait_until(lambda: not all_of(browser, ".release") and text(browser, ".deliveries").count("delivered") >= 2,
               "the overlay has left", 60)
    assert len(node.pacs.overlays()) >= 2, "refused once, then taken"
    has(browser, "#parked-card", "0")
    assert browser.execute_script("return window.notReloaded === true"), "all that without a reload"


def test_what_is_parked_is_given_up_once_confirmed_and_may_be_released_after_all(browser, hospital):
    node = hospital
    node.refusing["on"] = True
    image = radiograph("01_1_hand", AccessionNumber="GIVE-UP", StudyInstanceUID=fresh_uid(), SOPInstanceUID=fresh_uid())
    send(node, [image])
    log_in(browser, node)
    page(browser, node)
    has(browser, "#parked-card", "1")
    page(browser, node, "#/deliveries?state=parked")
    for accepted in (False, True):
        click(browser, ".give-up")
        question = wait_until(lambda: alert_is_present()(browser), "it is asked", 20)
        assert "will not get it" in question.text
        question.accept() if accepted else question.dismiss()
        has(browser, "#parked-card", "0" if accepted else "1")
    has(browser, ".empty", "Nothing waits for a person")
    page(browser, node, "#/deliveries?state=given_up")
    has(browser, ".deliveries tbody", "given up")
    assert "A900" in text(browser, ".deliveries tbody") and not all_of(browser, ".give-up")
    shoot(browser, "given-up-dark", theme="dark")
    page(browser, node)
    has(browser, f'.list tr[data-uid="{image.StudyInstanceUID}"]', "1 given up")
    page(browser, node, "#/deliveries?state=given_up")
    node.refusing["on"] = False
    click(browser, ".release")
    wait_until(lambda: "given up" not in text(browser, ".deliveries tbody"), "it is due again", 20)
    wait_until(lambda: node.at_rest() and not [d for d in node.deliveries() if d["state"] != "delivered"], "it has left", 60)


def test_a_study_is_analysed_again_once_confirmed(browser, hospital):
    node = hospital
    image = radiograph("01_1_hand", AccessionNumber="AGAIN", StudyInstanceUID=fresh_uid(), SOPInstanceUID=fresh_uid())
    send(node, [image])
    log_in(browser, node)
    page(browser, node, f"#/studies/{image.StudyInstanceUID}")
    has(browser, ".study-state", "Finished")
    revision = lambda: next(s["revision"] for s in node.studies() if s["study_instance_uid"] == image.StudyInstanceUID)
    for accepted in (False, True):
        click(browser, ".retry")
        question = wait_until(lambda: alert_is_present()(browser), "it is asked", 20)
        assert "new revision" in question.text
        question.accept() if accepted else question.dismiss()
        has(browser, "#toast" if accepted else ".study-state", "analysed again" if accepted else "Finished")
        assert revision() == (2 if accepted else 1)
    wait_until(node.at_rest, "it is through again", 60)


def test_one_study_is_found_by_its_numbers(browser, hospital):
    node = hospital
    send(node, [radiograph("01_1_hand", AccessionNumber="HAND-7")])
    page(browser, node)
    has(browser, ".list tbody", "HAND-7")
    webdriver.ActionChains(browser).send_keys("/").perform()
    assert browser.switch_to.active_element.get_attribute("id") == "search"
    browser.switch_to.active_element.send_keys("HAND")
    wait_until(lambda: len(all_of(browser, ".list tbody tr")) == 1, "one study is left", 20)
    assert "HAND-7" in text(browser, ".list tbody") and "search=HAND" in browser.current_url
    field = browser.find_element(By.ID, "search")
    field.clear()
    field.send_keys("no such number")
    has(browser, ".notice", "No study fits")
    field.clear()
    uid = node.studies()[0]["study_instance_uid"]
    field.send_keys(uid)
    wait_until(lambda: browser.execute_script("return [...document.querySelectorAll('.list tbody tr')].map(row => row.dataset.uid)") == [uid], "it is found by UID", 20)


def test_what_happens_now_states_models_and_routes_are_told(browser, hospital):
    node, chest = hospital, small_image("CHEST")
    chest.AccessionNumber = "NOW-2"
    send(node, [radiograph("01_1_hand", AccessionNumber="NOW-1", StudyInstanceUID=fresh_uid(), SOPInstanceUID=fresh_uid()), chest])
    wait_until(node.at_rest, "both are through")
    page(browser, node)
    cards = lambda: {lines[0]: lines[1] for lines in ([line for line in card.splitlines() if line] for card in texts(browser, "#now .card"))}
    assert set(cards()) == {"Images in the last hour", "Waiting", "Studies open", "Deliveries due", "Parked", "Disk", "Device"}
    assert int(cards()["Images in the last hour"]) >= 2 and cards()["Device"] == "CPU" and "iB" in cards()["Disk"]
    assert all_of(browser, "#now .spark rect:not(.none)"), "the minutes of the last hour are drawn"

    for state, shown, hidden in (("Finished", "NOW-1", "NOW-2"), ("Not routed", "NOW-2", "NOW-1")):
        browser.execute_script("[...document.querySelectorAll('.chips .chip')].find(chip => chip.innerText.trim() === arguments[0]).click()", state)
        wait_until(lambda: hidden not in text(browser, ".list tbody"), f"{state}: {hidden} goes", 20)
        assert shown in text(browser, ".list tbody")
        on = texts(browser, ".chips [aria-pressed=true]")
        assert on == [state], on

    page(browser, node, "#/models")
    has(browser, ".panels", "demo-fracture")
    has(browser, ".routes tbody", "lower-limb")
    before = browser.execute_script("return document.documentElement.dataset.theme")
    click(browser, "#theme")
    page(browser, node)
    after = browser.execute_script("return document.documentElement.dataset.theme")
    assert {before, after} == {"dark", "light"}, "what is chosen stays"
    click(browser, "#theme")
    for role in ("[role=status]#health", "[role=alert]#trouble", "[aria-live=polite]#toast", "nav[aria-label]", "main", "th[scope=col]"):
        assert all_of(browser, role), f"{role}, for a screen reader"


def test_it_is_used_by_keyboard_alone(browser, hospital):
    send(hospital, [radiograph("01_1_hand")])
    page(browser, hospital)
    wait_until(lambda: all_of(browser, ".list tbody tr"), "studies are listed")
    seen = []
    for _ in range(40):
        webdriver.ActionChains(browser).send_keys(Keys.TAB).perform()
        seen.append(browser.execute_script("const e = document.activeElement; return e.className || e.id || e.tagName"))
        if "row-link" in seen[-1]:
            break
    assert "row-link" in seen[-1], seen
    assert "skip" in seen[0], "the first stop leads past the head"
    browser.switch_to.active_element.send_keys(Keys.ENTER)
    wait_until(lambda: all_of(browser, ".study-head"), "the study opens")


def test_axe_finds_nothing_in_either_theme(browser, hospital):
    axe = pytest.importorskip("axe_core_python")
    script = (pathlib.Path(axe.__file__).parent / "axe.min.js").read_text()
    send(hospital, [radiograph("01_1_hand")])
    wait_until(lambda: hospital.at_rest(), "it is analysed")
    uid = hospital.studies()[0]["study_instance_uid"]
    for address in ("#/studies", f"#/studies/{uid}", "#/deliveries", "#/models"):
        page(browser, hospital, address)
        wait_until(lambda: all_of(browser, "table, .panels"), "the part is drawn")
        browser.execute_script(script)
        for theme in ("dark", "light"):
            browser.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
            found = browser.execute_async_script("const done = arguments[0]; axe.run().then(r => done(r.violations), e => done([{id: String(e), nodes: []}]))")
            assert not found, [(one["id"], [(node["html"][:160], node.get("failureSummary", "")[:300]) for node in one["nodes"]][:3]) for one in found]
    shoot(browser, "models-dark", theme="dark")


def test_a_peers_markup_stays_text_and_the_page_asks_for_nothing_outside(browser, hospital):
    node = hospital
    send(node, [radiograph("02_1_foot", AccessionNumber="<b>x</b>")])
    page(browser, node)
    has(browser, ".list tbody", "<b>x</b>")
    assert not all_of(browser, ".list tbody b")
    asked = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert asked and all(name.startswith(f"http://127.0.0.1:{node.page}/") for name in asked), asked
    serious = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE" and "401" not in entry["message"]]
    assert not serious, serious
    shoot(browser, "studies-dark", theme="dark")


def test_no_name_of_a_patient_is_shown_or_sent(browser, hospital):
    node = hospital
    image = radiograph("08_1_forearm", AccessionNumber="N-1", PatientName="Secretname^Ann", PatientID="SECRETID")
    send(node, [image])
    wait_until(lambda: any(s["accession_number"] == "N-1" for s in node.studies()), "it is stored")
    for path in ("/api/studies", f"/api/studies/{image.StudyInstanceUID}", f"/api/studies/{image.StudyInstanceUID}/route",
                 "/api/deliveries", "/metrics", "/api/now"):
        assert "secret" not in node.get(path)[1].lower(), path


def test_trouble_is_said(browser, hospital):
    page(browser, hospital)
    hospital.stop()
    has(browser, "#health", "No connection")
    has(browser, "#trouble", "does not answer")
    hospital.start()
    has(browser, "#health", "Ready")


def test_a_node_that_is_stuck_is_not_shown_as_ready(browser, hospital):
    node = hospital
    page(browser, node)
    browser.execute_script("""
        window.said = [];
        new MutationObserver(() => window.said.push(document.querySelector('#health').textContent))
          .observe(document.querySelector('#health'), {childList: true, characterData: true, subtree: true});""")
    node.process.send_signal(signal.SIGSTOP)
    try:
        has(browser, "#health", "No news for 15 s")
        has(browser, "#trouble", "What is shown is what it said at ")
        assert all_of(browser, "#health.bad[role=status]") and "NO NEWS FOR 15 S" in browser.title
        shoot(browser, "no-news-dark", theme="dark")
        shoot(browser, "no-news-light", theme="light")
        browser.set_window_size(1440, 900)
        has(browser, "#health", "No news for 30 s")
    finally:
        node.process.send_signal(signal.SIGCONT)
    has(browser, "#health", "Ready")
    assert not text(browser, "#trouble") and "NO NEWS" not in browser.title
    assert browser.execute_script("return window.said") == ["No news for 15 s", "No news for 30 s", "Ready"], \
        "a screen reader is told what changes, not every second"
    study = fresh_uid()
    send(node, [small_image("CHEST", study=study)])
    wait_until(lambda: all_of(browser, f'.list tr[data-uid="{study}"]'), "what happens then is shown again", 20)


def test_a_refusal_of_the_events_is_told_and_does_not_last(browser, hospital):
    node = hospital
    browser.get("about:blank")
    others = []
    try:
        def all_taken():  # Those of the tests before are counted until the node has seen that they are gone.
            other = socket.create_connection(("127.0.0.1", node.page), timeout=10)
            other.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            others.append(other) if b" 200 " in other.recv(64) else other.close()
            return len(others) == 24
        wait_until(all_taken, "others have all streams of the node", 30)
        browser.get(f"http://127.0.0.1:{node.page}/")
        has(browser, "#health", "Not live")
        has(browser, "#trouble", "too many pages follow the events")
        assert "does not answer" not in text(browser, "#trouble") and all_of(browser, "#health.bad")
        wait_until(lambda: text(browser, ".list tbody") or text(browser, ".notice"), "what can be told is shown", 20)
        asked = wait_until(lambda: browser.execute_script("""
            const at = performance.getEntriesByType('resource').filter(e => e.name.endsWith('/api/events')).map(e => e.startTime);
            return at.length >= 4 && at;"""), "it is asked for again", 20)
        assert asked[3] - asked[2] > 1.5 * (asked[2] - asked[1]) > 2 * (asked[1] - asked[0]), "and ever less often"
    finally:
        for other in others:
            other.close()
    has(browser, "#health", "Ready")
    assert not text(browser, "#trouble")


def test_tabs_behind_hold_no_connection_and_are_fresh_when_seen(browser, hospital):
    node, first = hospital, browser.current_window_handle
    page(browser, node)
    tabs = []
    try:
        for _ in range(8):  # A browser has six connections for one host.
            browser.switch_to.new_window("tab")
            tabs.append(browser.current_window_handle)
            browser.set_page_load_timeout(20)
            page(browser, node)
        study = fresh_uid()
        send(node, [small_image("CHEST", study=study)])
        for tab in (tabs[-1], tabs[0], first):
            browser.switch_to.window(tab)
            wait_until(lambda: all_of(browser, f'.list tr[data-uid="{study}"]'), "a tab that is seen shows it", 20)
            wait_until(lambda: text(browser, "#health") == "Ready", "and that the node is ready", 10)
    finally:
        for tab in tabs:
            browser.switch_to.window(tab)
            browser.close()
        browser.switch_to.window(first)


def test_older_studies_are_shown_beyond_one_page_of_the_api(browser, hospital, tmp_path):
    node, paths = hospital, []
    image = small_image("CHEST", side=16)
    for at in range(1070):
        image.StudyInstanceUID, image.SOPInstanceUID, image.AccessionNumber = fresh_uid(), fresh_uid(), f"MANY-{at}"
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        paths.append(tmp_path / f"{at}.dcm")
        image.save_as(paths[-1])
    modality(node, tmp_path, associations=4)
    total = len(node.studies())
    page(browser, node)
    rows = lambda: browser.execute_script("return document.querySelectorAll('.list tbody tr').length")
    for count in [*range(50, total, 50), total]:
        wait_until(lambda: rows() == count, f"{count} rows: {rows()}", 20)
        shown = all_of(browser, ".list-pane .more")[0].is_displayed()
        assert shown == (count < total)
        if shown:
            browser.execute_script("document.querySelector('.list-pane .more').click()")
    uids = browser.execute_script("return [...document.querySelectorAll('.list tbody tr')].map(row => row.dataset.uid)")
    assert len(set(uids)) == total, "each once"
