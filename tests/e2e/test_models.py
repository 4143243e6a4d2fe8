"""Models of other people give the numbers that their own programs give."""
import json
import os

import ballot_run as b

STORY = ("Once upon a time, there was a little girl named Lily. She loved to play outside in the "
         "park. One day, she saw a big, red ball. She wanted to play with it, but it was too high.")
TINYSTORIES = "jobs/stories260k-tinystories.ini"


class Models(b.TestCase):
    def evaluate(self, model, *more, ranks=1, job=TINYSTORIES):
        return json.loads(b.run(["eval", model, "--job", job, "--json", *more], ranks=ranks).out)

    def generate(self, model, *more, ranks=1):
        return b.run(["generate", model, "Once upon a time", *more], ranks=ranks).out

    def some(self):
        """Under sanitizers a part of the text must do, where no published number is compared."""
        return ["-s", "data.dev_examples=8"] if b.SLOW else ["-s", "data.dev_examples=64"]

    def test_stories260k_in_float32_and_int8(self):
        f32 = self.evaluate(b.STORIES, "--format", "f32")["loss_nats"]
        i8 = self.evaluate(b.STORIES, "--format", "i8")["loss_nats"]
        self.assertAlmostEqual(f32, 1.3278, delta=0.002, msg="stories260K, float32")
        self.assertAlmostEqual(i8, f32, delta=0.01, msg="stories260K, int8 against float32")

    def test_stories260k_continues_its_story(self):
        for form in ("f32", "i8"):
            for ranks in (1, 2):
                text = self.generate(b.STORIES, "-n", 60, "--format", form, ranks=ranks)
                self.assertEqual(text[:len(STORY)], STORY, f"--format {form}, {ranks} ranks")

    def test_every_level_gives_the_same_loss_and_text(self):
        for form in ("f32", "i8"):
            losses, texts = {}, {}
            for level in b.isa_levels():
                more = ["--isa", level, "--format", form]
                losses[level] = self.evaluate(b.STORIES, *more, *self.some(), "-s",
                                              "data.context=64")["loss_nats"]
                texts[level] = self.generate(b.STORIES, "-n", 20, *more)
            self.assertEqual(len(set(losses.values())), 1, f"{form}: {losses}")
            self.assertEqual(len(set(texts.values())), 1, f"{form}: {texts}")

    def test_evaluation_is_the_same_on_1_and_3_ranks(self):
        one, three = (self.evaluate(b.STORIES, *self.some(), ranks=n) for n in (1, 3))
        self.assertEqual(one, three)

    def test_an_exported_checkpoint_is_the_same_model(self):
        run, folder = self.folder("run"), self.folder("exported")
        b.run(b.tiny(run))
        checkpoint = os.path.join(run, b.bytes_of(run, "LATEST").decode().strip())
        b.run(["export", checkpoint, folder])
        inside, outside = (self.evaluate(m, "--format", "f32", *self.some())
                           for m in (checkpoint, folder))
        self.assertAlmostEqual(inside["loss_nats"], outside["loss_nats"], delta=1e-6)
        self.assertEqual(inside["tokens"], outside["tokens"])
        self.assertEqual(inside["accuracy"], outside["accuracy"])
        texts = {self.generate(m, "-n", 20, "--format", "f32") for m in (checkpoint, folder)}
        self.assertEqual(len(texts), 1, texts)

    def test_an_exported_base_model_is_the_same_model(self):
        folder = self.folder("base")
        b.run(["export", b.STORIES, folder])
        inside, outside = (self.evaluate(m, "--format", "f32", *self.some())
                           for m in (b.STORIES, folder))
        self.assertAlmostEqual(inside["loss_nats"], outside["loss_nats"], delta=1e-6)
        config = json.loads(b.bytes_of(folder, "config.json"))
        self.assertEqual(config["architectures"], ["LlamaForCausalLM"])

    def test_a_draw_depends_on_its_seed_alone(self):
        draw = lambda seed, **how: self.generate(b.STORIES, "-n", 40, "-T", 1, "--seed", seed,
                                                 **how)
        first = draw(7)
        self.assertEqual(first, draw(7), "the same seed again")
        self.assertEqual(first, draw(7, ranks=3), "the same seed on 3 ranks")
        self.assertNotEqual(first, draw(8), "another seed")
        self.assertNotEqual(first, self.generate(b.STORIES, "-n", 40), "the likeliest tokens")

    def test_generation_prints_once_and_ends_at_the_context(self):
        text = b.run(["generate", b.STORIES, "Once", "-n", 5], ranks=3).out
        self.assertEqual(text.count("Once"), 1, text)
        made = json.loads(b.run(["generate", b.STORIES, "Once", "-n", 5, "--json"], ranks=2).out)
        self.assertEqual(made["text"] + "\n", text)

    def test_tinystories_656k_of_hugging_face(self):
        folder = os.environ.get("BALLOT_TINYSTORIES_656K", "")
        if not os.path.isdir(folder):
            self.skipTest("BALLOT_TINYSTORIES_656K names no folder: the license of this model is "
                          "not settled, so it is not in the repository")
        f32 = self.evaluate(folder, "--format", "f32")["loss_nats"]
        self.assertAlmostEqual(f32, 3.2908, delta=0.005, msg=folder)


if __name__ == "__main__":
    b.main()
