#!/usr/bin/python3
"""Compare ballot with what a user would take instead, on one core of this machine.

Builds peer_products (OpenBLAS and oneDNN), then runs, in turn and on one core: oneDNN with all
instructions and with those of ballot's avx512 level, `ballot bench --json`, `ballot bench --shape
opt-125m --json`, and mezo_torch.py in float32 and bfloat16. Prints Markdown tables of ratios
ballot / peer: medians over the rounds of ratios within a round, so that a slow minute hits both.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "../../..")
SHAPE = "opt-125m"
TORCH_TYPES = ["float32", "bfloat16"]
# glibc otherwise returns and faults in every large result anew; without it PyTorch is 10 % slower.
MALLOC = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 34),
          "MALLOC_TOP_PAD_": str(1 << 28)}


class Failure(Exception):
    """One sentence for the user."""


# ---- running ----

def run(command, **environment):
    """Run a program on the chosen core; returns its JSON object."""
    words = " ".join(command)
    environment = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", **environment)
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except OSError as error:
        raise Failure(f"{words}: cannot be started: {error.strerror}") from None
    if done.returncode != 0:
        last = (done.stderr.strip().split("\n") or [""])[-1]
        raise Failure(f"{words}: ended with {done.returncode}: {last}")
    try:
        record = json.loads(done.stdout)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise Failure(f"{words}: printed no JSON object: {done.stdout[:60]!r}")
    return record


def build(folder):
    for command in (["cmake", "-S", HERE, "-B", folder, "-DCMAKE_BUILD_TYPE=Release"],
                    ["cmake", "--build", folder]):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise Failure(f"cmake cannot be started: {error.strerror}") from None
        if done.returncode != 0:
            raise Failure(f"{' '.join(command)} failed; it needs Debian's cmake, libdnnl-dev and "
                          f"libopenblas-dev:\n{done.stderr.strip() or done.stdout.strip()}")
    return os.path.join(folder, "peer_products")


def measure(options):
    """All rounds: [{"peers": {isa: ...}, "benches": [...], "steps": [...], "torch": [...]}]"""
    products, rounds = build(options.build), []
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        capability = {"ATEN_CPU_CAPABILITY": "avx512"} if "avx512dq" in file.read() else {}
    limits = [["--isa", options.isa]] if options.isa else [[], ["--isa", "avx512"]]
    for i in range(options.rounds):
        print(f"round {i + 1} of {options.rounds}; load {os.getloadavg()[0]:.1f}, best below 0.5 "
              f"at the start", file=sys.stderr)
        row = {"peers": {"best": run([products, "--rounds", "3"]),
                         "avx512": run([products, "--rounds", "3", "--isa", "avx512"])}}
        if not options.no_ballot:
            row["benches"] = [run([options.ballot, "bench", "--json", *limit])
                              for limit in limits]
            row["steps"] = [run([options.ballot, "bench", "--shape", SHAPE, "--json", *limit])
                            for limit in limits]
        if not options.no_torch:
            row["torch"] = [run(["/usr/bin/python3", os.path.join(HERE, "mezo_torch.py"),
                                 "--rounds", "2", "--dtype", dtype, "--variants", "fused", "kept"],
                                **MALLOC, **capability) for dtype in TORCH_TYPES]
        rounds.append(row)
    return rounds


# ---- tables ----

def get(record, key, source):
    """record[key], or a sentence about the program that left it out."""
    if not isinstance(record, dict) or key not in record:
        raise Failure(f"{source}: its JSON has no \"{key}\"")
    return record[key]


def amount(record, key, source):
    value = get(record, key, source)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise Failure(f"{source}: \"{key}\" is {value!r}, expected a number above 0")
    return float(value)


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join(["---:"] * len(head)) + " |"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def median(values):
    return statistics.median(list(values))


def peer_speeds(row):
    """{peer: {(m, n, k): Gop/s}} of one round; of oneDNN's int8 types the fastest counts."""
    speeds = {}
    for isa, record in get(row, "peers", "the measurement").items():
        for p in get(record, "products", "peer_products"):
            peer = "OpenBLAS f32"
            if p["library"] == "onednn":
                peer = "oneDNN " + p["implementation"].split(":")[-1].replace("avx512_core_", "")
            elif isa != "best":
                continue
            cell = speeds.setdefault(peer, {})
            at = (p["m"], p["n"], p["k"])
            cell[at] = max(cell.get(at, 0.0), p["gops"])
    return speeds


def ballot_speeds(row):
    """{(isa, format): {(m, n, k): (Gop/s, share of peak)}} of one round."""
    speeds = {}
    source = "ballot bench, products"
    for p in (p for bench in row["benches"] for p in get(bench, "products", "ballot bench")):
        m, n, k, isa, form = (get(p, key, source) for key in ("m", "n", "k", "isa", "format"))
        speeds.setdefault((isa, form), {})[m, n, k] = (amount(p, "gops", source),
                                                       amount(p, "share_of_peak", source))
    return speeds


def product_tables(rounds):
    """Markdown: the peers' speeds, then a table of ratios for each level and format of ballot."""
    peers = [peer_speeds(row) for row in rounds]
    names = list(peers[0])
    order = sorted(peers[0][names[0]], key=lambda at: (at[1] * at[2], at[1], at[0]))

    def shape(at):
        return [str(at[0]), f"{at[1]} x {at[2]}"]

    parts = ["Products of M x K activations with N x K weights, Gop/s of one core.\n\n" + table(
        ["tokens M", "N x K", *names],
        [shape(at) + [f"{median(p[name][at] for p in peers):.0f}" for name in names]
         for at in order])]
    if "benches" not in rounds[0]:
        return parts
    own = [ballot_speeds(row) for row in rounds]
    for level in own[0]:
        common = [at for at in order if at in own[0][level]]
        if not common:
            continue
        parts.append(f"ballot {level[0]} {level[1]}: ratios ballot / peer.\n\n" + table(
            ["tokens M", "N x K", "Gop/s", "of peak", *("/ " + name for name in names)],
            [shape(at) + [f"{median(o[level][at][0] for o in own):.0f}",
                          f"{100 * median(o[level][at][1] for o in own):.0f} %"] +
             [f"{median(o[level][at][0] / p[name][at] for o, p in zip(own, peers)):.2f}"
              for name in names] for at in common]))
    if len(parts) == 1:
        raise Failure("ballot bench measured no product that the peers measured: expected m of "
                      "16, 64, 256 or 1024 and n x k of 768 x 768, 2048 x 768, ...")
    return parts


def torch_steps(row):
    """{name: (seconds of probe, of step, parts, tokens)} of one round."""
    steps = {}
    for record in row["torch"]:
        for v in get(record, "variants", "mezo_torch.py"):
            parts = v["seconds"]
            noise = "noise kept" if v["variant"] == "kept" else "noise made anew"
            steps[f"PyTorch {record['dtype']}, {noise}"] = (
                parts["perturb"] + parts["forward"], v["seconds_per_step"], parts,
                record["tokens"])
    return steps


def step_table(rounds):
    """Markdown: one probe, and a whole step of one probe, of PyTorch and of ballot."""
    peers = [torch_steps(row) for row in rounds]
    own = [{get(s, "isa", "ballot bench --shape"): s for s in row.get("steps", [])}
           for row in rounds]
    source = "ballot bench --shape"
    head = ["peer", "probe s", "noise", "forward", "update", "probes/s"]
    for isa in own[0]:
        head += [f"ballot {isa}: probe", "step"]
    rows = []
    for name in peers[0]:
        parts = {key: median(p[name][2][key] for p in peers) for key in peers[0][name][2]}
        cells = [name, f"{median(p[name][0] for p in peers):.2f}",
                 *(f"{parts[key]:.2f}" for key in ("perturb", "forward", "update")),
                 f"{median(1 / p[name][1] for p in peers):.2f}"]
        for isa in own[0]:
            if get(own[0][isa], "tokens", source) != peers[0][name][3]:
                raise Failure(f"{source} probed {own[0][isa]['tokens']} tokens, PyTorch "
                              f"{peers[0][name][3]}: these are different work")
            probe, step = [], []
            for o, p in zip(own, peers):
                seconds = amount(o[isa], "seconds_per_probe", source)
                probe.append(p[name][0] / seconds)
                step.append(p[name][1] / (seconds + amount(o[isa], "update_seconds", source)))
            cells += [f"{median(probe):.1f} x", f"{median(step):.1f} x"]
        rows.append(cells)
    return (f"A probe (two passes) of {SHAPE}'s shape, seconds of one core; a step is one probe "
            "and one update. Ratios are speeds, ballot / peer.\n\n" + table(head, rows))


def report(rounds):
    """Everything that was measured, as Markdown."""
    if not isinstance(rounds, list) or not rounds:
        raise Failure("the measurement has no rounds")
    parts = product_tables(rounds)
    if "torch" in rounds[0]:
        parts.append(step_table(rounds))
    for isa in ("best", "avx512"):
        used = sorted({p["implementation"] for p in rounds[0]["peers"][isa]["products"]
                       if p["library"] == "onednn"})
        parts.append(f"oneDNN {rounds[0]['peers'][isa]['onednn']}, instructions: {isa}: "
                     f"{', '.join(used)}.")
    return "\n\n".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ballot", default=os.path.join(ROOT, "build/release/ballot"))
    parser.add_argument("--build", default=os.path.join(ROOT, "build/peers"),
                        help="folder to build the peers in (default: build/peers)")
    parser.add_argument("--isa", metavar="LEVEL", help="limit ballot to this level; default: the "
                        "best level, and avx512")
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-ballot", action="store_true", help="the peers alone")
    parser.add_argument("--no-torch", action="store_true", help="the products alone")
    parser.add_argument("--save", metavar="FILE", help="keep what was measured, as JSON")
    parser.add_argument("--load", metavar="FILE", help="print the tables of a saved measurement")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be 1 or more")
    try:
        if options.load:
            with open(options.load, encoding="utf-8") as file:
                rounds = json.load(file)
        else:
            os.sched_setaffinity(0, {options.core})  # programs started from here stay on it
            rounds = measure(options)
            if options.save:
                with open(options.save, "w", encoding="utf-8") as file:
                    json.dump(rounds, file)
        print(report(rounds))
    except (Failure, OSError, ValueError) as failure:
        print(f"run.py: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
