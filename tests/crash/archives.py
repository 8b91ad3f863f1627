"""Two real archives as destinations, each with a log to which every reception is appended, overwritten or not.

`log()` gives harness.Pacs.Entry rows, so that harness.count_doubles() reads them.
"""
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import urllib.request

import pydicom
from pynetdicom import AE

from harness import Pacs, free_port, wait_until


def answers_echo(port, ae_title):
    ae = AE(ae_title="XRAY1")
    ae.add_requested_context("1.2.840.10008.1.1")
    association = ae.associate("127.0.0.1", port, ae_title=ae_title)
    if association.is_established:
        association.release()
    return association.is_released


class Archive:
    """A process that answers C-ECHO on `port`."""

    def __init__(self, directory, ae_title):
        self.directory, self.ae_title, self.port = pathlib.Path(directory), ae_title, free_port()
        self.directory.mkdir(parents=True)
        self.process = None

    def __enter__(self):
        with open(self.directory.parent / f"{self.ae_title}.log", "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env={**os.environ, "TCP_NODELAY": "1"})
        wait_until(lambda: self.process.poll() is not None or answers_echo(self.port, self.ae_title),
                   f"{self.ae_title} answers C-ECHO", 60)
        self.runs()
        return self

    def runs(self):
        """True, or fails in words: without one of the archives nothing more can be counted."""
        assert self.process.poll() is None, f"{self.ae_title} ended by itself: see {self.ae_title}.log"
        return True

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)


class StoreScp(Archive):
    """DCMTK's storescp: a file of its own for each reception, so its directory is the log."""

    def command(self):
        return ["storescp", "-aet", self.ae_title, "-od", self.directory, "+uf", str(self.port)]

    def log(self):
        entries = []
        for path in sorted(self.directory.iterdir()):
            dataset = pydicom.dcmread(path)
            entries.append(Pacs.Entry(dataset.SOPClassUID, str(dataset.SOPInstanceUID),
                                      hashlib.sha256(path.read_bytes()).hexdigest(), dataset))
        return entries


class Orthanc(Archive):
    """Orthanc as Debian has it, told to overwrite. Its Lua hook sees each reception before it is stored and appends SOP
    class, UID and all tags to a file; the pixels are compared by what is stored in the end. (Not with Orthanc's DumpJson:
    in 1.10.1 it corrupts the heap on what is nested as deep as a report.)"""

    HOOK = """
        local function text(value)
          if type(value) ~= 'table' then return string.format('%%q', tostring(value)) end
          local parts = {}
          for name, part in pairs(value) do table.insert(parts, tostring(name) .. '=' .. text(part)) end
          table.sort(parts)
          return '{' .. table.concat(parts, ',') .. '}'
        end
        function ReceivedInstanceFilter(dicom, origin)
          local log = io.open(%s, 'a')
          log:write(dicom.SOPClassUID, ' ', dicom.SOPInstanceUID, ' ', (text(dicom):gsub('\\n', ' ')), '\\n')
          log:close()
          return true
        end"""

    def __init__(self, directory, ae_title):
        super().__init__(directory, ae_title)
        self.page = free_port()
        self.received = self.directory / "received"
        self.received.touch()
        (self.directory / "log.lua").write_text(self.HOOK % json.dumps(str(self.received)))
        (self.directory / "orthanc.json").write_text(json.dumps({
            "Name": "crashtest", "StorageDirectory": str(self.directory / "storage"),
            "IndexDirectory": str(self.directory / "storage"), "DicomAet": ae_title, "DicomPort": self.port,
            "DicomAlwaysAllowEcho": True, "DicomAlwaysAllowStore": True, "DicomCheckCalledAet": False,
            "HttpPort": self.page, "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
            "OverwriteInstances": True, "LuaScripts": [str(self.directory / "log.lua")], "Plugins": []}))

    def command(self):
        return [shutil.which("Orthanc", path="/usr/sbin:/usr/bin:" + os.environ.get("PATH", "")),
                self.directory / "orthanc.json"]

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.page}{path}", timeout=60) as answer:
            return answer.read()

    def stored(self):
        found = {}
        for name in json.loads(self.get("/instances")):
            path = self.directory / "fetched.dcm"
            path.write_bytes(self.get(f"/instances/{name}/file"))
            dataset = pydicom.dcmread(path)
            found[str(dataset.SOPInstanceUID)] = dataset
        return found

    def log(self):
        stored, entries = self.stored(), []
        for line in self.received.read_text().splitlines():
            sop_class, uid, _ = line.split(" ", 2)
            entries.append(Pacs.Entry(sop_class, uid, hashlib.sha256(line.encode()).hexdigest(), stored[uid]))
        return entries
