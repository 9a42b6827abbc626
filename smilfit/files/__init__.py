"""Files, read and written: names that stay inside their folder, errors that name the file, outputs that are whole.

Every room that touches a file uses it.
"""

from smilfit.files.account import accounted, charge
from smilfit.files.atomic import (
    DiskFullError,
    flush_file,
    free_space,
    remove_temporary,
    replacing,
    write_bytes,
    write_text,
    writing,
)
from smilfit.files.budget import check_budget
from smilfit.files.child_process import read_in_child
from smilfit.files.errors import BadFileError, reading, shorten
from smilfit.files.names import check_entry_name, file_stem, folder_name, inside
from smilfit.files.numpy_files import read_npz
from smilfit.files.output_lock import OutputHeldError, OutputLock
from smilfit.files.outputs import MadeOf, OutputFolder
from smilfit.files.real_folders import (
    LinkedOutputError,
    check_own_files,
    check_tree,
    is_alone,
    real_folder,
)
from smilfit.files.text_files import read_json, read_text

__all__ = [
    'BadFileError',
    'DiskFullError',
    'LinkedOutputError',
    'MadeOf',
    'OutputFolder',
    'OutputHeldError',
    'OutputLock',
    'accounted',
    'charge',
    'check_budget',
    'check_entry_name',
    'check_own_files',
    'check_tree',
    'file_stem',
    'flush_file',
    'folder_name',
    'free_space',
    'inside',
    'is_alone',
    'read_in_child',
    'read_json',
    'read_npz',
    'read_text',
    'reading',
    'real_folder',
    'remove_temporary',
    'replacing',
    'shorten',
    'write_bytes',
    'write_text',
    'writing',
]
