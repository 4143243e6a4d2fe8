"""What a command prints arrives, or the command says that it did not and fails."""
import os
import shlex

import ballot_run as b

# A reason is at hand unless the output went out in parts.
LOST = r"ballot: the output could not be written(: No space left on device)?\n$"


def full():
    """Before a program starts: its standard output is a disk without space."""
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


class Output(b.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.run_dir = os.path.join(cls.class_dir, "trained")
        b.run(b.tiny(cls.run_dir, run__steps=1))

    def commands(self):
        job = ["--job", b.JOB, "-s", "data.dev_examples=1"]
        shape = ["-s", f"model.path={b.STORIES}"]
        journal = os.path.join(self.run_dir, "ballots.journal")
        for json in ([], ["--json"]):
            yield ["eval", b.STORIES, *job, *json]
            yield ["generate", b.STORIES, "a", "-n", "1", *json]
            yield ["inspect", journal, *json]
        yield ["config", b.JOB]
        yield ["quantize", b.STORIES, "-o", self.folder("rounded.h5")]
        yield ["replay", b.STORIES, journal, "--job", os.path.join(self.run_dir, "job.ini"), "-o",
               self.folder("made.h5")]
        yield ["estimate", b.JOB, *shape]
        yield ["doctor"]
        yield ["bench", "--product", "8,64,64"]
        yield b.tiny(self.run_dir, run__steps=1)  # its table
        yield ["--help"]
        yield ["--version"]
        yield ["train", "--help"]
        yield ["eval", "--usage"]

    def test_a_full_disk_is_a_failure_of_every_command(self):
        for arguments in self.commands():
            result = b.run(arguments, expect=b.FAILURE, preexec=full)
            self.assertRegex(result.err, LOST, result.command)

    def test_a_code_that_says_more_is_kept(self):
        result = b.run(["config", "no.ini"], expect=b.USAGE, preexec=full)
        self.assertNotIn("could not be written", result.err)
        path = self.write("damaged.h5", "text")
        b.run(["inspect", path], expect=b.INPUT, preexec=full)

    def test_nothing_printed_is_nothing_lost(self):
        made = self.folder("made")
        b.run(["export", b.STORIES, made], preexec=full)
        b.run(["export", b.STORIES, self.folder("made.gguf")], preexec=lambda: os.close(1))

    def test_a_reader_that_has_read_enough_ends_it_quietly(self):
        words = " ".join(shlex.quote(w) for w in b.command(["config", b.JOB]))
        result = b.finish(b.start_command(["bash", "-c", f"{words} | true; echo ${{PIPESTATUS[0]}}"]))
        self.assertEqual((result.out.strip() in ("0", "141"), result.err), (True, ""), result.out)


if __name__ == "__main__":
    b.main()
