#!/usr/bin/env python3
"""Make types.gguf: a tensor of each type that ballot reads, and beside it, as TYPE.values in F32, what
the gguf package makes of its blocks. Usage: make_types.py [FILE]. Needs gguf (0.19.0) and numpy.

The bits of blocks are random; scales in F16 are finite, and some of them are subnormal."""
import os
import sys

import gguf
import numpy as np

TYPES = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K",
         "Q6_K", "IQ4_NL"]
HALVES = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q2_K": [80, 82],
          "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0]}
SHAPE = (3, 256)


def halves(rng, n):
    """Scales such as files have, with some that are tiny, 0 or negative."""
    scale = np.exp(rng.uniform(-12, 2, n)) * rng.choice([-1, 1], n)
    scale[rng.random_sample(n) < 0.05] = 0
    return scale.astype("<f2").view(np.uint8).reshape(n, 2)


def blocks_of(name, rng):
    """Bytes of SHAPE elements, rows of whole blocks."""
    n = SHAPE[0] * SHAPE[1]
    if name == "F32":
        return rng.standard_normal(SHAPE).astype("<f4")
    if name == "F16":
        return rng.standard_normal(SHAPE).astype("<f2")
    if name == "BF16":
        values = rng.standard_normal(n).astype("<f4").view("<u4") >> 16
        return values.astype("<u2").view(np.uint8).reshape(SHAPE[0], -1)
    size, n_bytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]]
    blocks = rng.randint(0, 256, (n // size, n_bytes)).astype(np.uint8)
    for at in HALVES[name]:
        blocks[:, at:at + 2] = halves(rng, len(blocks))
    return blocks.reshape(SHAPE[0], -1)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "types.gguf")
    rng = np.random.RandomState(14)
    writer = gguf.GGUFWriter(path, "llama")
    for name in TYPES:
        kind = gguf.GGMLQuantizationType[name]
        data = blocks_of(name, rng)
        values = gguf.quants.dequantize(data, kind).reshape(SHAPE)
        assert values.dtype == np.float32 and np.isfinite(values).all(), name
        if name in ("F32", "F16"):
            writer.add_tensor(name, data)
        else:
            writer.add_tensor(name, data, raw_dtype=kind)
        writer.add_tensor(name + ".values", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
