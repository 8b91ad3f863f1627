"""A certification authority in a folder, made by openssl's own command line, and what certificates may be wrong in."""
import datetime
import pathlib
import ssl
import subprocess


def openssl(*arguments, **more):
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, **more)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Authority:
    """`ca.pem`, and a certificate and a key for each name asked for."""

    def __init__(self, directory, name="hospital"):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.file, self.key = self.directory / "ca.pem", self.directory / "ca.key"
        openssl("req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", 3650, "-subj", f"/CN={name}",
                "-keyout", self.key, "-out", self.file)
        self.configuration = self.directory / "ca.conf"
        self.configuration.write_text(f"[ca]\ndefault_ca=d\n[d]\nnew_certs_dir={self.directory}\ndefault_md=sha256\n"
                                      f"database={self.directory}/index\nserial={self.directory}/serial\nunique_subject=no\npolicy=p\n"
                                      "[p]\ncommonName=supplied\n")
        (self.directory / "index").touch()

    def issue(self, name, alternative="IP:127.0.0.1", days=365, bits=2048, key="rsa", file=None):
        """(certificate, key) files. `days` below 0: expired for so long."""
        certificate, private = self.directory / f"{file or name}.pem", self.directory / f"{file or name}.key"
        request, extensions = self.directory / f"{name}.csr", self.directory / f"{name}.ext"
        kind = [f"rsa:{bits}"] if key == "rsa" else ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        openssl("req", "-newkey", *kind, "-noenc", "-subj", f"/CN={name}", "-keyout", private, "-out", request)
        extensions.write_text(f"subjectAltName={alternative}\nbasicConstraints=CA:FALSE\n")
        now = datetime.datetime.now(datetime.timezone.utc)
        end = now + datetime.timedelta(days=days)
        begin = min(now, end) - datetime.timedelta(days=2)
        openssl("ca", "-batch", "-notext", "-rand_serial", "-config", self.configuration, "-cert", self.file, "-keyfile",
                self.key, "-in", request, "-extfile", extensions, "-out", certificate,
                "-startdate", begin.strftime("%y%m%d%H%M%SZ"), "-enddate", end.strftime("%y%m%d%H%M%SZ"))
        return certificate, private

    def settings(self, key, files):
        """For Node(settings=...): `key` is that of a tls group."""
        return {f"{key}.ca_file": self.file, f"{key}.certificate_file": files[0], f"{key}.key_file": files[1]}

    def client(self, files=None, check=True, **limits):
        """An ssl.SSLContext that calls."""
        context = ssl.create_default_context(cafile=self.file)
        context.check_hostname = check
        if not check:
            context.verify_mode = ssl.CERT_NONE
        if files:
            context.load_cert_chain(*files)
        for key, value in limits.items():
            setattr(context, key, value)
        return context

    def server(self, files, ask=True):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.file)
        context.load_cert_chain(*files)
        context.verify_mode = ssl.CERT_REQUIRED if ask else ssl.CERT_NONE
        return context


def fingerprint(certificate):
    """As the operator copies it: "sha256:AB:CD:..."."""
    return "sha256:" + openssl("x509", "-in", certificate, "-noout", "-fingerprint", "-sha256").strip().split("=")[1]
