"Packaging; every value comes from settings.ini. Edit there, not here."
from configparser import ConfigParser
from pathlib import Path
import shlex, sys
import setuptools

here = Path(__file__).parent
config = ConfigParser(delimiters=['='])
config.read(here/'settings.ini', encoding='utf-8')
cfg = config['DEFAULT']


def words(key):
    return shlex.split(cfg.get(key, ''))


extras = {name: words(f'{name}_requirements') for name in ('hf', 'api', 'data', 'heic', 'hub', 'embeddings', 'train', 'notebook',
                                                              'probes', 'cluster', 'lm-polygraph', 'inspect', 'dev')}
extras['all'] = sorted({r for name in ('hf', 'api', 'data', 'train', 'notebook', 'probes') for r in extras[name]})

# The notebooks of the paper's studies are shipped from where they stand, without copies. An editable installation reads
# them there, and is a plain path: the import hook that setuptools would write otherwise loses to a folder named unsaf.
notebooks = {} if 'editable_wheel' in sys.argv else {'unsaf.paper_notebooks': 'nbs/80_paper/studies',
                                                     'unsaf.beyond_notebooks': 'nbs/80_paper/beyond'}

setuptools.setup(
    name=cfg['lib_name'], version=cfg['version'], description=cfg['description'],
    author=cfg['author'], author_email=cfg['author_email'], keywords=cfg['keywords'],
    license='Apache-2.0', license_files=['LICENSE'], python_requires='>=' + cfg['min_python'],
    packages=[*setuptools.find_packages(include=[cfg['lib_path'], cfg['lib_path'] + '.*']), *notebooks],
    package_dir={'': '.', **notebooks},
    package_data={cfg['lib_path']: words('package_data'), **{name: ['*.ipynb'] for name in notebooks}},
    install_requires=words('requirements'), extras_require=extras,
    classifiers=['Development Status :: 3 - Alpha', 'Intended Audience :: Science/Research',
                 'Programming Language :: Python :: 3',
                 *(f'Programming Language :: Python :: 3.{minor}' for minor in (11, 12, 13))],
    long_description=(here/'README.md').read_text(encoding='utf-8') if (here/'README.md').exists() else '',
    long_description_content_type='text/markdown', zip_safe=False,
    entry_points={'console_scripts': words('console_scripts'), 'inspect_ai': words('inspect_ai_tasks')},
)
