"""A vLLM server on the CPU as a context manager, checkpoints in the form that it expects, and its counters."""
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

OPTIONS = ("--dtype", "float32", "--max-num-seqs", "8", "--enforce-eager", "--limit-mm-per-prompt", '{"image":1}')
QUIET = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1",
         "VLLM_SERVER_DEV_MODE": "1"}     # the last one for /reset_...


def renamed(source: Path, target: Path) -> int:
    "A copy of a LLaVA checkpoint with the names of weights that vLLM expects; returns how many were renamed."
    from safetensors.torch import load_file, save_file
    shutil.copytree(source, target, dirs_exist_ok=True)
    weights = load_file(target / "model.safetensors")
    new = {re.sub(r"^(model\.)?vision_tower\.(?!vision_model\.)", "vision_tower.vision_model.", k): w for k, w in weights.items()}
    save_file(new, target / "model.safetensors", metadata={"format": "pt"})
    return len(set(new) - set(weights))


def wide_llava(folder: Path) -> Path:
    "A random LLaVA with 256 tokens a picture and one a byte of text: what is shared by prompts is as long as in real models."
    import torch
    import transformers as tf
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    torch.manual_seed(0)
    bpe = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, merges=[]))
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    bpe.add_special_tokens(["<pad>", "</s>", "<image>"])
    tok = tf.PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<pad>", eos_token="</s>", extra_special_tokens={"image_token": "<image>"})
    template = ("{% for m in messages %}{% for c in m['content'] %}{{ '<image>' if c['type'] == 'image' else c['text'] }}{% endfor %}{% endfor %}"
                "{% if add_generation_prompt %}{{ '\nANSWER:' }}{% endif %}")
    pixels = tf.CLIPImageProcessorPil(size={"height": 224, "width": 224}, crop_size={"height": 224, "width": 224})
    processor = tf.LlavaProcessor(pixels, tok, patch_size=14, vision_feature_select_strategy="default", num_additional_image_tokens=1,
                                  chat_template=template)
    vision = tf.CLIPVisionConfig(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2, image_size=224, patch_size=14,
                                 projection_dim=64)
    text = tf.LlamaConfig(vocab_size=len(tok), hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=2,
                          num_key_value_heads=2, head_dim=64, max_position_embeddings=4096, bos_token_id=None,
                          eos_token_id=tok.eos_token_id, pad_token_id=tok.pad_token_id)
    config = tf.LlavaConfig(vision_config=vision, text_config=text, image_seq_length=256, image_token_index=tok.convert_tokens_to_ids("<image>"))
    model = tf.LlavaForConditionalGeneration(config)
    model.save_pretrained(folder), processor.save_pretrained(folder)
    return folder


class Server:
    "Where a server listens."
    def __init__(self, port: int, name: str, pid: int = 0):
        self.root, self.name, self.spec, self.pid = f"http://127.0.0.1:{port}", name, f"api:{name}@http://127.0.0.1:{port}/v1", pid

    def cpu_seconds(self) -> float:
        "Of the server and its workers so far: all processes of its session."
        spent = 0.0
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try: fields = stat.read_text().rpartition(")")[2].split()
            except OSError: continue      # it ended meanwhile
            if int(fields[3]) == self.pid: spent += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return spent

    def get(self, path: str, data: "bytes | None" = None) -> str:
        with urllib.request.urlopen(urllib.request.Request(self.root + path, data=data), timeout=30) as answer: return answer.read().decode()

    def counters(self) -> dict[str, float]:
        "Running totals of tokens looked up and found in the prefix cache, and of pictures in the cache of prepared pictures."
        found = re.findall(r"^vllm:(prefix_cache|mm_cache)_(queries|hits)_total\{[^}]*\} (\S+)$", self.get("/metrics"), re.M)
        return {f"{cache} {what}": float(value) for cache, what, value in found}

    def forget(self) -> None:
        "Empty the prefix cache and the cache of prepared pictures."
        for cache in ("prefix", "mm"): self.get(f"/reset_{cache}_cache", b"")


def _wait(server: Server, process: subprocess.Popen, log: Path, seconds: float = 600) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        try: server.get("/health")
        except (urllib.error.URLError, OSError): time.sleep(.5)
        else: return
    lines = [line for line in log.read_text(errors="replace").splitlines() if "Error" in line] or ["no error line"]
    raise RuntimeError(f"vLLM did not start within {seconds:g} s: {lines[0].strip()[:300]} (all of it: {log})")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as s: return s.getsockname()[1]


@contextmanager
def serving(python: Path, checkpoint: Path, log: Path, *options: str, name: str = "tiny", port: int = 0):
    "A `Server` for as long as the block runs; raises `RuntimeError` where it does not start."
    port = port or free_port()
    command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(checkpoint), "--served-model-name", name,
               "--host", "127.0.0.1", "--port", str(port), *OPTIONS, *options]
    with log.open("w") as out:
        process = subprocess.Popen(command, env=os.environ | QUIET, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        server = Server(port, name, process.pid)
        try:
            _wait(server, process, log)
            yield server
        finally:
            process.terminate()
            try: process.wait(30)
            except subprocess.TimeoutExpired: os.killpg(process.pid, 9)   # its own session: the server and its workers
