"""Files, read and written: names that stay inside their folder, errors that name the file, outputs that are whole.

Every room that touches a file uses it.
"""

from smilfit.files.atomic import DiskFullError, replacing, write_bytes, write_text, writing
from smilfit.files.errors import BadFileError, shorten
from smilfit.files.names import check_entry_name, file_stem, folder_name, inside
from smilfit.files.output_lock import OutputHeldError, OutputLock
from smilfit.files.outputs import MadeOf, OutputFolder
from smilfit.files.reading import reading

__all__ = [
    'BadFileError',
    'DiskFullError',
    'MadeOf',
    'OutputFolder',
    'OutputHeldError',
    'OutputLock',
    'check_entry_name',
    'file_stem',
    'folder_name',
    'inside',
    'reading',
    'replacing',
    'shorten',
    'write_bytes',
    'write_text',
    'writing',
]
