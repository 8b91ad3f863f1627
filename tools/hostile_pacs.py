"""A PACS that misbehaves as it is told, for trying a sender: does it lose, double, or hang on anything?

It stores nothing but one JSON line an event, appended to --log: {"event": "stored", "sop": ..., "sha256": ...,
"step": "fine"}. What was answered 0x0000 stands there as "stored", so that lost and doubled objects can be counted
afterwards; "step" says after which behaviour.

A programme is a list of steps, each `WHAT` or `WHAT:NUMBER`, done one after the other:
  fine[:N]     answers 0000 to N objects; without a number for ever
  busy:N       answers A700, out of resources, to N objects
  refuse:N     answers A900 to N objects
  slow:N       answers 0000 to N objects, each after --delay seconds
  silent:N     takes N objects and never answers
  break:N      aborts the association N times in the middle of an object
  reject:N     rejects N associations
--no-sr accepts no Structured Report at all. Example:
  tools/hostile_pacs --port 11113 --log pacs.log --no-sr busy:3 break:2 reject:1 fine
"""
import argparse
import hashlib
import json
import sys
import threading
import time

from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, StoragePresentationContexts, evt
from pynetdicom.pdu import P_DATA_TF

KINDS = ("fine", "busy", "refuse", "slow", "silent", "break", "reject")


def step(text):
    what, _, number = text.partition(":")
    if what not in KINDS or (number and not number.isdigit()) or (not number and what != "fine"):
        raise argparse.ArgumentTypeError(f"'{text}' is no step; one of {', '.join(KINDS)}, with :NUMBER, is wanted")
    return [what, int(number) if number else None]


class HostilePacs:
    def __init__(self, arguments):
        self.programme, self.delay = arguments.programme or [["fine", None]], arguments.delay
        self._lock = threading.Lock()
        self._log = open(arguments.log, "a", encoding="utf-8") if arguments.log else sys.stdout
        self.ae = AE(ae_title=arguments.aet)
        self.ae.maximum_pdu_size = 16384
        for context in StoragePresentationContexts:
            if not (arguments.no_sr and context.abstract_syntax.startswith("1.2.840.10008.5.1.4.1.1.88.")):
                self.ae.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
        self.ae.add_supported_context("1.2.840.10008.1.1")

    def next_is(self, *kinds):
        """Takes one of the step in hand if it is of these kinds, and says which."""
        with self._lock:
            while self.programme and self.programme[0][1] == 0:
                self.programme.pop(0)
            if not self.programme:
                return "fine" if "fine" in kinds else None
            current = self.programme[0]
            if current[0] not in kinds:
                return None
            if current[1] is not None:
                current[1] -= 1
            return current[0]

    def write(self, event, **more):
        with self._lock:
            self._log.write(json.dumps({"event": event, "at": round(time.time(), 3), **more}) + "\n")
            self._log.flush()

    def requested(self, event):
        if self.next_is("reject"):
            self.write("rejected")
            event.assoc.acse.send_reject(0x02, 0x03, 0x02)
            event.assoc.kill()

    def received(self, event):
        """In the middle of an object, before its last fragment."""
        if not isinstance(event.pdu, P_DATA_TF):
            return
        header = event.pdu.presentation_data_value_items[0].presentation_data_value[0]
        if header & 0x01 == 0 and header & 0x02 == 0 and self.next_is("break"):
            self.write("broken")
            event.assoc.abort()

    def store(self, event):
        content = event.request.DataSet.getvalue()
        about = {"sop": str(event.request.AffectedSOPInstanceUID), "class": str(event.request.AffectedSOPClassUID),
                 "sha256": hashlib.sha256(content).hexdigest()}
        what = self.next_is("fine", "busy", "refuse", "slow", "silent") or "fine"
        if what == "silent":
            self.write("silent", **about)
            time.sleep(3600)
        if what == "slow":
            time.sleep(self.delay)
        status = {"busy": 0xA700, "refuse": 0xA900}.get(what, 0x0000)
        self.write("stored" if status == 0 else what, step=what, **about)
        return status

    def serve(self, port):
        self.ae.start_server(("0.0.0.0", port), block=True, evt_handlers=[
            (evt.EVT_C_STORE, self.store), (evt.EVT_PDU_RECV, self.received), (evt.EVT_REQUESTED, self.requested)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=11113)
    parser.add_argument("--aet", default="PACS")
    parser.add_argument("--log", help="append the events to this file; default standard output")
    parser.add_argument("--delay", type=float, default=2, help="seconds, of slow answers; default 2")
    parser.add_argument("--no-sr", action="store_true")
    parser.add_argument("programme", nargs="*", type=step)
    HostilePacs(parser.parse_args()).serve(parser.parse_args().port)
