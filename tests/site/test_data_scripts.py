import json

import pytest

from clbench.site.data_scripts import data_script


def test_a_script_adds_its_data_under_its_name():
    text = data_script("curves/er", {"x": [1, None, 0.5]}).decode()
    assert text == 'clbench.add("curves/er",{"x":[1,null,0.5]});\n'


def test_no_text_can_end_the_script_or_a_line_of_it():
    hostile = "</script><!-- & \u2028 \u2029"
    text = data_script("a", [hostile]).decode()
    assert not set("<>&\u2028\u2029") & set(text)
    assert json.loads(text[len('clbench.add("a",') : -3]) == [hostile]


def test_a_number_that_json_does_not_have_is_an_error():
    with pytest.raises(ValueError):
        data_script("a", [float("nan")])
