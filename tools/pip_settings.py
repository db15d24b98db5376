"""What pip is set to, as the environment that uv reads: lines for a shell (`no_index` is an option of uv's and no variable).
uv knows nothing of pip's files and variables; one of its own variables that is set already stays."""
import ast, os, shlex, subprocess, sys

INDEXES = ('UV_INDEX', 'UV_DEFAULT_INDEX', 'UV_INDEX_URL', 'UV_EXTRA_INDEX_URL')


def settings() -> dict[str, str]:
    "pip's settings by name: its variables before its files, and there [install] before [global]."
    said = subprocess.run([sys.executable, '-m', 'pip', 'config', 'list'], capture_output=True, text=True).stdout
    found: dict[str, dict[str, str]] = {'global': {}, 'install': {}, ':env:': {}}
    for line in said.splitlines():
        name, _, value = line.partition('=')
        section, _, key = name.rpartition('.')
        if section in found: found[section][key] = str(ast.literal_eval(value))
    found[':env:'] |= {k[4:].lower().replace('_', '-'): v for k, v in os.environ.items() if k.startswith('PIP_')}   # without pip, too
    return {k: v for section in found.values() for k, v in section.items() if v.strip()}


def for_uv(pip: dict[str, str], set_already=os.environ) -> dict[str, str]:
    "The same for uv. With several indexes pip takes the best version of all: so does uv, if told."
    def words(key: str, between: str = ' ') -> str: return between.join(pip.get(key, '').split())
    out = {'UV_FIND_LINKS': words('find-links', ','), 'UV_CONSTRAINT': words('constraint'), 'UV_INSECURE_HOST': words('trusted-host'),
           'UV_HTTP_TIMEOUT': pip.get('timeout') or pip.get('default-timeout', ''), 'SSL_CERT_FILE': pip.get('cert', ''),
           'SSL_CLIENT_CERT': pip.get('client-cert', ''), 'HTTP_PROXY': pip.get('proxy', ''), 'HTTPS_PROXY': pip.get('proxy', ''),
           'no_index': '--no-index' if pip.get('no-index', '').lower() in ('1', 'true', 'yes', 'on') else ''}
    if not any(set_already.get(v) for v in INDEXES):
        out |= {'UV_DEFAULT_INDEX': pip.get('index-url', ''), 'UV_INDEX': words('extra-index-url')}
        if out['UV_INDEX']: out['UV_INDEX_STRATEGY'] = 'unsafe-best-match'
    return {k: v for k, v in out.items() if v and not set_already.get(k) and not set_already.get(k.lower())}


if __name__ == '__main__': print(*(f'export {k}={shlex.quote(v)}' for k, v in for_uv(settings()).items()), sep='\n')
