import numpy as np
import pytest

from smilfit.io import check_lookup, read_joint_lookup, read_shape_betas


def _file(tmp_path, text):
    path = tmp_path / 'table.csv'
    path.write_text(text, encoding='utf-8')
    return path


def test_reads_what_is_mapped_in_order(tmp_path):
    path = _file(tmp_path, '\ufeffmodel,data\r\nskull, Head\r\nEar_L,\r\n\r\n,Tongue\r\nNose,Nose\r\n')
    assert list(read_joint_lookup(path).items()) == [('skull', 'Head'), ('Nose', 'Nose')]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('joint,data\na,b\n', 'columns must be model, data'),
        ('', 'columns must be model, data'),
        ('model,data,vertices\n,b,3\n', 'line 2: model must be a name'),
        ('model,data\na,b\na,c\n', "line 3: model names must differ; got 'a' again"),
        ('model,data\na,b\nc,b\n', "line 3: data names must differ; got 'b' for 'c' and for 'a'"),
        ('model,data\na,\n', 'one row at least must map'),
        ('model,data\na,b,c\n', 'rows must have 2 cells; got 3'),
    ],
)
def test_lookup_errors(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_joint_lookup(_file(tmp_path, text))


def test_a_missing_table_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match='must exist'):
        read_joint_lookup(tmp_path / 'none.csv')


def test_unknown_names_are_errors_with_near_ones():
    lookup = {'skull': 'Head', 'nose': 'Nose'}
    check_lookup(lookup, ['skull', 'nose', 'tail'], ['Head', 'Nose'])
    with pytest.raises(KeyError, match=r"keypoints of the labels; 'Nose' is none. Did you mean 'Noze'"):
        check_lookup(lookup, data_names=['Head', 'Noze'])
    with pytest.raises(KeyError, match=r"keypoints of the model; 'skull' is none.*So are 'nose'"):
        check_lookup(lookup, model_names=['Skull'])


def test_shape_betas_match_by_exact_label(tmp_path):
    betas = read_shape_betas(_file(tmp_path, 'label,PC1,PC2\nsession_1,0.5,-1\nsession_10,2,3e-1\n'))
    assert list(betas) == ['session_1', 'session_10']
    np.testing.assert_array_equal(betas['session_10'], [2, 0.3])


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('label\nx\n', 'columns must be label, PC1'),
        ('label,PC1,PC3\nx,1,2\n', 'columns must be label, PC1, PC2'),
        ('label,PC1\nx,1\nx,2\n', 'labels must be given and differ'),
        ('label,PC1\nx,one\n', 'line 2: coefficients must be numbers'),
        ('label,PC1,PC2\nx,1\n', 'line 2: coefficients must be numbers'),
        ('label,PC1\nx,nan\n', 'line 2: coefficients must be finite'),
    ],
)
def test_shape_betas_errors(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_shape_betas(_file(tmp_path, text))


def test_other_columns_are_remarks_and_misspelt_ones_errors(tmp_path):
    assert read_joint_lookup(_file(tmp_path, 'remark,model,data\nx,a,b\n')) == {'a': 'b'}
    with pytest.raises(
        ValueError, match="columns must be spelt as they are known; got 'offset sd'. Did you mean"
    ):
        read_joint_lookup(_file(tmp_path, 'model,data,offset sd\na,b,1\n'))
