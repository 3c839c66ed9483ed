"""What an instance of skerryd has on the host."""

import json
import subprocess
from pathlib import Path

from e2e.daemon import Daemon
from e2e.processes import running


def left_on_host(daemon: Daemon) -> list[str]:
    """Everything of the instance that exists outside its data folder, one line each."""
    name = daemon.instance
    found = [f"process {pid}" for word in (str(daemon.data), f"/run/skerry/{name}") for pid in running(word)]
    found += [f"namespace {space['name']}" for space in _json("ip", "-json", "netns", "list") if space["name"].startswith(f"sk{name}")]
    found += [f"link {link['ifname']}" for link in _json("ip", "-json", "link") if link["ifname"].startswith(f"sk{name}")]
    found += [f"mount {line}" for line in _lines("/proc/mounts") if str(daemon.data) in line or f"/run/skerry/{name}" in line]
    found += [f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob(f"**/skerry_{name}*")]
    tables = subprocess.run(["nft", "list", "tables"], check=True, capture_output=True, text=True).stdout
    found += [f"nftables {line}" for line in tables.splitlines() if name in line]
    rules = subprocess.run(["iptables-save"], check=True, capture_output=True, text=True).stdout
    found += [f"iptables {line}" for line in rules.splitlines() if f"sk{name}" in line]
    return found


def _json(*argv: str) -> list[dict[str, str]]:
    text = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    return json.loads(text) if text.strip() else []


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()
