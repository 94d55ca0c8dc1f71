"""placeholder replaced below"""
from __future__ import annotations
import time
def work(spec, progress):
    for i in range(int(spec.get("n", 3))):
        progress(i * 100_000_000, int(spec.get("n", 3)) * 100_000_000, "B", "trial")
        time.sleep(1)
    if spec.get("boom"): raise RuntimeError("boom")
    return {"changed": True, "n": spec.get("n"), "secret": bool(spec.get("token"))}
