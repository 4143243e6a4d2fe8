"""A long run takes no more memory and no more descriptors at its end than after its first moments.

BALLOT_SOAK_SECONDS: how long it is watched.
"""
import os
import signal
import statistics
import sys
import time

import ballot_run as b

SECONDS = int(os.environ.get("BALLOT_SOAK_SECONDS", 20))
ALLOWED_BYTES = 1 << 20


class Soak(b.TestCase):
    def test_memory_and_descriptors_stay_flat(self):
        run = self.folder("run")
        train = b.tiny(run, run__steps=10**6, run__eval_every=50, run__check_every=5,
                       run__checkpoint_every=40, data__context=64, vote__slots=16, vote__audit=0.05)
        process = b.start(train, ranks=2)
        # Checkpoints copy metrics in blocks of up to 512 rows, which take their memory once.
        self.assertTrue(b.wait_until(process, lambda: len(b.metrics(run)) >= 600))
        pids, samples = [b.pid_of_rank(process, rank) for rank in range(2)], []
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            samples.append([(b.memory(pid), len(os.listdir(f"/proc/{pid}/fd"))) for pid in pids])
            time.sleep(min(1.0, SECONDS / 40))
        b.kill([process.pid], signal.SIGUSR2)
        result = b.finish(process, expect=b.STOPPED)
        steps = len(b.metrics(run))
        part, words = max(1, len(samples) // 5), []
        for rank in range(len(pids)):
            first, last = ([[sample[rank][i] for sample in part_of] for i in (0, 1)]
                           for part_of in (samples[part:2 * part], samples[-part:]))
            grown = statistics.median(last[0]) - statistics.median(first[0])
            # Checkpoints open and close files: the fewest that are open at a time must not grow.
            more = min(last[1]) - min(first[1])
            words.append(f"{grown / 1024:+.0f} KiB, {more:+d} descriptors")
            self.assertLessEqual(grown, ALLOWED_BYTES, result.command)
            self.assertLessEqual(more, 0, result.command)
        sys.stderr.write(f"\n  {SECONDS} s, {steps} steps: {'; '.join(words)} ... ")


if __name__ == "__main__":
    b.main()
