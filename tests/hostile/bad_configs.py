"""How a config can be wrong, for every command that takes one."""

# How a config can be wrong, for every command that takes one: (name, config, message).
BAD_CONFIGS = (
    ('is not there', '{root}/none.py', r'none\.py: the config is not there'),
    ('is a folder', '{root}', r'must be a file.*folder'),
    ('is a text', '{text}', r"notes\.txt: a config must be a file \.py.*'\.txt'"),
    ('is empty', '{empty_config}', r'empty\.py: a config must set names'),
    (
        'is no Python',
        '{syntax}',
        r'syntax\.py: the config must be Python that runs; got SyntaxError.* line 2',
    ),
    ('has an unknown name', '{name_error}', r'name_error\.py: .*undefined_name.* in line 3'),
    ('divides by zero', '{zero}', r'zero\.py: .*ZeroDivisionError.* in line 2'),
    ('exits', '{exits}', r'exits\.py: .*SystemExit.* in line 3'),
    ('never ends calling itself', '{deep}', r'deep\.py: .*RecursionError'),
    ('imports what is not there', '{imports}', r'imports\.py: .*no_such_package_here'),
    (
        'names a plugin that is not there',
        '{custom}',
        r'custom\.py: .*custom_imports.*no_such_plugin.*Put the module',
    ),
    (
        'names a plugin that fails',
        '{custom_broken}',
        r'custom_broken\.py.*the plugin is broken.*line 2 of .*broken_plugin\.py',
    ),
    ('names a number as plugin', '{custom_number}', r'custom_number\.py: .*custom_imports'),
    ('builds on what is not there', '{base_missing}', r'base_missing\.py: .*nowhere\.py'),
    ('is a list', '{list_json}', r'list\.json'),
)
