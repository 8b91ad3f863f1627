"""The try page: one file is dropped, analysed on the engine and by the pixels of the DICOM way, shown, and forgotten."""
import base64
import io
import json
import pathlib
import shutil
import urllib.error
import urllib.request

import numpy
import pydicom
import pytest
from harness import RADIOGRAPHS, Node, plain_radiograph, small_image, wait_until
from PIL import Image


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with Node(tmp_path_factory.mktemp("try")) as node:
        yield node


def post(node, content, query=""):
    request = urllib.request.Request(f"http://127.0.0.1:{node.page}/api/try{query}", data=content, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def encoded(picture, form, **options):
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def picture_of(url):
    return Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,"))))


def values(found):
    return {finding["task"]: finding["logits"] for finding in found["image"]["findings"]}


def test_a_dicom_file_is_found_to_be_what_predict_finds(node, tmp_path):
    path = next(RADIOGRAPHS.glob("08_1_forearm*"))
    status, found = post(node, path.read_bytes())
    assert status == 200 and not found["note"]
    line = json.loads(node.run("predict", "--config", str(node.config), "--out", str(tmp_path), str(path)).stdout)
    assert values(found) == {finding["task"]: finding["logits"] for finding in line["findings"]}
    assert found["image"]["anomaly"] == line["anomaly"]
    assert found["image"]["rule"] == line["rule"] == "upper-limb"
    radiograph, overlay = picture_of(found["preview"]), picture_of(found["overlay"])
    assert radiograph.size == overlay.size and radiograph.size[0] > 200
    assert numpy.ptp(numpy.asarray(overlay.convert("RGB"), int), axis=2).max() > 50, "the overlay has colours"


def test_a_picture_is_read_as_the_same_pixels_in_dicom(node):
    dataset = small_image("KNEE", seed=7, side=200)
    pixels = dataset.pixel_array
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        pixels = 255 - pixels
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    by_dicom = post(node, out.getvalue())[1]
    for mode in ("L", "RGB"):
        status, by_png = post(node, encoded(Image.fromarray(pixels).convert(mode), "PNG"), "?body_part=KNEE")
        assert status == 200, by_png
        assert by_png["image"]["body_part"] == "KNEE" and by_png["image"]["rule"] == "lower-limb"
        assert values(by_png) == values(by_dicom), mode
    deep = Image.fromarray(pixels.astype(numpy.uint16) * 257)
    assert values(post(node, encoded(deep, "PNG"), "?body_part=KNEE")[1]) == values(by_dicom), "16 bits of the same grey"


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_jpeg_is_taken(node, mode):
    pixels = pydicom.dcmread(plain_radiograph()).pixel_array.astype(float)
    grey = Image.fromarray((pixels / pixels.max() * 255).astype(numpy.uint8))
    status, found = post(node, encoded(grey.convert(mode), "JPEG", quality=95), "?body_part=HAND")
    assert status == 200, found
    assert set(values(found)) == {"fracture", "implant", "region"}


def test_where_nothing_says_what_it_shows_every_task_is_asked(node):
    status, found = post(node, encoded(Image.new("L", (80, 60), 90), "PNG"))
    assert status == 200 and "body part unknown" in found["note"]
    assert set(values(found)) == {"fracture", "implant", "region"} and "anomaly" in found["image"]


@pytest.mark.parametrize("content, query, status, words", [
    (b"", "", 400, "no file"),
    (b"no image at all", "", 422, ""),
    (b"\x89PNG\r\n\x1a\n" + bytes(40), "", 422, "PNG file is damaged"),
    (b"\xff\xd8\xff\xe0\x00\x10" + bytes(4), "", 422, "JPEG file is damaged"),
    (encoded(Image.new("L", (64, 64)), "JPEG", progressive=True), "", 422, "baseline"),
    (encoded(Image.new("L", (70000, 1)), "PNG"), "", 422, "more than this node reads"),
    (b"x", "?body_part=<b>", 400, "body_part"),
    (b"x", "?page=1", 400, "unknown parameter"),
    (bytes(33 << 20), "", 413, "too long"),
], ids=["empty", "rubbish", "png", "jpeg", "progressive", "wide", "body-part", "parameter", "large"])
def test_what_cannot_be_read_is_refused_in_words(node, content, query, status, words):
    try:
        got, found = post(node, content, query)
    except (ConnectionError, urllib.error.URLError):
        assert status == 413, "only one that is too large may be cut off"
        return
    assert got == status and words in found["error"], found
    assert node.get("/healthz")[0] == 200


def test_nothing_is_stored_or_sent(node):
    files = {path for path in pathlib.Path(node.settings["storage.directory"]).rglob("*") if path.is_file()}
    post(node, plain_radiograph().read_bytes())
    assert node.studies() == [] and node.deliveries() == []
    assert {path for path in pathlib.Path(node.settings["storage.directory"]).rglob("*") if path.is_file()} == files
    assert not any(name in node.log() for name in ("event=c_store", "event=delivery "))


def test_there_is_none_unless_it_is_asked_for(tmp_path):
    with Node(tmp_path, {"http.try_page": "false"}) as node:
        assert node.get("/try")[0] == 404
        assert post(node, b"x")[0] == 404
        assert node.get("/")[0] == 200


@pytest.mark.skipif(not shutil.which("chromedriver"), reason="Debian's chromium-driver is not installed")
def test_a_file_is_dropped_on_the_page(node, tmp_path):
    page_test = pytest.importorskip("page_test")
    from selenium.webdriver.common.by import By
    browser = page_test.start_browser(tmp_path)
    try:
        browser.get(f"http://127.0.0.1:{node.page}/try")
        assert "Not for clinical use" in browser.find_element(By.TAG_NAME, "header").text
        browser.find_element(By.ID, "file").send_keys(str(next(RADIOGRAPHS.glob("01_1_hand*"))))
        page_test.has(browser, "#result", "Fracture")
        wait_until(lambda: browser.execute_script(
            "return document.querySelectorAll('.stage img').length === 2 && [...document.images].every(i => i.naturalWidth)"), "two pictures")
        page_test.shoot(browser, "try-light", 1280, 1000, theme="light")
        assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    finally:
        browser.quit()


def test_no_page_of_another_site_tries(node):
    for said in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{node.page}/api/try", b"x", said), timeout=30)


def test_so_many_in_a_minute_and_no_more(tmp_path):
    with Node(tmp_path) as node:
        image = encoded(Image.new("L", (32, 32), 5), "JPEG", progressive=True)  # Refused, but it counts.
        statuses = [post(node, image)[0] for _ in range(32)]
        assert statuses.count(422) == 30 and statuses[-1] == 503
        assert 'skelex_http_refused_total{reason="busy"} 2' in node.get("/metrics")[1]
        assert node.log().count("more images to try than are analysed at once") == 1, "a line a minute"
