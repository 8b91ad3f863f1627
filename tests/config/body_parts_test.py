"""config/body_parts.yaml is consistent: nothing stands for two body parts, and every code is one by its check digit."""
import json
import os
import pathlib
import re
import unicodedata

import pytest
import yaml

SOURCE = pathlib.Path(os.environ["NODE_SOURCE_DIR"])
TABLE = yaml.safe_load((SOURCE / "config/body_parts.yaml").read_text())
KINDS = ("aliases", "bones", "codes", "loinc", "procedure_codes", "descriptions")
# Body parts that a model of limbs is for, in the five languages the table ships.
LIMBS = {
    "HAND": "MANUS HAND HAND MAIN MANO", "FINGER": "DIGITUS_MANUS FINGER FINGER DOIGT DEDO_MANO",
    "THUMB": "POLLEX THUMB DAUMEN POUCE PULGAR", "WRIST": "CARPUS WRIST HANDGELENK POIGNET MUÑECA",
    "FOREARM": "ANTEBRACHIUM FOREARM UNTERARM AVANT-BRAS ANTEBRAZO", "ELBOW": "ARTICULATIO_CUBITI ELBOW ELLENBOGEN COUDE CODO",
    "HUMERUS": "HUMERUS HUMERUS OBERARMKNOCHEN HUMÉRUS HÚMERO", "UPPERARM": "BRACHIUM UPPER_ARM OBERARM BRAS BRAZO",
    "SHOULDER": "ARTICULATIO_HUMERI SHOULDER SCHULTER ÉPAULE HOMBRO",
    "CLAVICLE": "CLAVICULA CLAVICLE SCHLÜSSELBEIN CLAVICULE CLAVÍCULA",
    "SCAPULA": "SCAPULA SHOULDER_BLADE SCHULTERBLATT OMOPLATE ESCÁPULA", "PELVIS": "PELVIS PELVIS BECKEN BASSIN PELVIS",
    "HIP": "COXA HIP HÜFTE HANCHE CADERA", "FEMUR": "OS_FEMORIS FEMUR OBERSCHENKELKNOCHEN FÉMUR FÉMUR",
    "THIGH": "REGIO_FEMORIS THIGH OBERSCHENKEL CUISSE MUSLO", "KNEE": "GENU KNEE KNIE GENOU RODILLA",
    "PATELLA": "PATELLA KNEE_CAP KNIESCHEIBE ROTULE RÓTULA", "TIBIA": "TIBIA SHIN SCHIENBEIN TIBIA TIBIA",
    "FIBULA": "FIBULA FIBULA WADENBEIN PÉRONÉ PERONÉ", "LOWERLEG": "CRUS LOWER_LEG UNTERSCHENKEL JAMBE PIERNA",
    "ANKLE": "ARTICULATIO_TALOCRURALIS ANKLE SPRUNGGELENK CHEVILLE TOBILLO", "FOOT": "PES FOOT FUSS PIED PIE",
    "TOE": "HALLUX TOE ZEHE ORTEIL DEDO_DEL_PIE", "CALCANEUS": "CALCANEUS HEEL FERSENBEIN CALCANÉUM CALCÁNEO",
    "EXTREMITY": "EXTREMITAS EXTREMITY EXTREMITÄT EXTRÉMITÉ EXTREMIDAD", "RADIUS": "RADIUS RADIUS SPEICHE RADIUS RADIO",
    "ULNA": "ULNA ULNA ELLE ULNA CÚBITO",
}


def folded(text):
    decomposed = unicodedata.normalize("NFD", text.upper().replace("ß", "SS"))
    return re.sub("[^A-Z0-9]", "", decomposed)


def key(kind, text):
    if kind in ("aliases", "bones"):
        return folded(text)
    return text if kind in ("descriptions", "loinc") else tuple(part.strip().upper() for part in text.split("|")[:2])


def verhoeff_is_right(digits):
    """Verhoeff's check by the dihedral group of ten elements, as SNOMED CT's identifiers have it."""
    def product(a, b):
        if a < 5:
            return (a + b) % 5 if b < 5 else 5 + (a + b) % 5
        return 5 + (a - b) % 5 if b < 5 else (a - b) % 5
    permutations = [list(range(10))]
    for _ in range(7):
        permutations.append([permutations[-1][i] for i in (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)])
    check = 0
    for place, digit in enumerate(reversed(digits)):
        check = product(check, permutations[place % 8][int(digit)])
    return check == 0


def luhn_is_right(code):
    """LOINC's check digit: modulus 10 with every second digit doubled."""
    number, check = code.split("-")
    total = 0
    for place, digit in enumerate(reversed(number)):
        total += sum(map(int, str(int(digit) * (2 - place % 2))))
    return -total % 10 == int(check)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_stands_for_two_body_parts(kind):
    owner = {folded(term): term for term in TABLE} if kind == "aliases" else {}
    for term, entry in TABLE.items():
        seen = set()
        for text in entry.get(kind, []):
            found = key(kind, str(text))
            assert found not in seen, f"{term}: {text} twice"
            seen.add(found)
            assert owner.setdefault(found, term) == term, f"{text} stands for {owner[found]} and {term}"


def test_every_term_is_a_code_string_with_groups():
    for term, entry in TABLE.items():
        assert re.fullmatch("[A-Z0-9_ ]{1,16}", term), term
        assert entry["groups"] and set(entry) <= {"groups", *KINDS}, term


def test_every_code_is_one_by_its_form_and_check_digit():
    checks = {"SCT": lambda v: re.fullmatch(r"[1-9]\d{5,17}", v) and verhoeff_is_right(v),
              "SRT": lambda v: re.fullmatch(r"[TR]-[0-9A-F]{4,5}", v) or re.fullmatch(r"R-FAB\d\d", v),
              "LN": lambda v: re.fullmatch(r"\d{1,5}-\d", v) and luhn_is_right(v)}
    for term, entry in TABLE.items():
        for code in entry.get("loinc", []):
            assert checks["LN"](code), f"{term}: {code}"
        for code in entry.get("codes", []) + entry.get("procedure_codes", []):
            value, scheme, meaning = code.split("|")
            assert checks[scheme](value), f"{term}: {code}"
            assert 0 < len(meaning) <= 64, f"{term}: {code}"


def test_the_checks_find_one_wrong_digit():
    assert verhoeff_is_right("72696002") and not verhoeff_is_right("72696003") and not verhoeff_is_right("76296002")
    assert luhn_is_right("24721-3") and not luhn_is_right("24721-4") and not luhn_is_right("24712-3")


@pytest.mark.parametrize("term", LIMBS)
def test_a_limb_is_known_in_latin_english_german_french_and_spanish(term):
    known = {folded(term)} | {folded(alias) for alias in TABLE[term]["aliases"]}
    for word in LIMBS[term].split():
        assert folded(word) in known, f"{term}: {word}"


def test_every_bone_of_the_region_head_is_part_of_a_body_part():
    labels = re.findall('"([a-zA-Z -]+)"', (SOURCE / "inference/region_head.cpp").read_text().split("labels{")[1].split("};")[0])
    bones = labels[5:34]
    assert len(labels) == 38 and bones[0] == "carpal bones" and bones[-1] == "ulna diaphysis"
    owner = {str(alias).upper(): term for term, entry in TABLE.items() for alias in [term, *entry.get("aliases", [])]}
    assert {bone: owner.get(bone.upper()) for bone in bones if bone.upper() not in owner} == {}
    owner |= {bone: term for term, entry in TABLE.items() for bone in entry.get("bones", [])}
    # What is ordinarily on a film beside its own bones, at the edge, and what is none of it.
    ordinary = {"distal radius": "HAND FOREARM WRIST", "distal humerus": "FOREARM ELBOW HUMERUS UPPERARM", "patella": "FEMUR",
                "proximal humerus": "SHOULDER CLAVICLE SCAPULA HUMERUS", "scapula": "HUMERUS UPPERARM CLAVICLE SHOULDER",
                "clavicle": "HUMERUS UPPERARM SCAPULA", "metacarpal": "FOREARM RADIUS ULNA RADIUSULNA WRIST HAND FINGER THUMB",
                "humerus diaphysis": "CLAVICLE SCAPULA SHOULDER ELBOW", "carpal bones": "HAND FOREARM", "pelvis": "FEMUR",
                "proximal femur": "HIP PELVIS FEMUR THIGH", "distal femur": "KNEE PATELLA FEMUR TIBIA LOWERLEG",
                "proximal tibia": "KNEE FEMUR LOWERLEG TIBIA", "proximal fibula": "KNEE FEMUR LOWERLEG FIBULA",
                "distal tibia": "ANKLE FOOT LOWERLEG TIBIA CALCANEUS", "distal fibula": "ANKLE FOOT LOWERLEG FIBULA",
                "femur diaphysis": "HIP KNEE", "hindfoot": "ANKLE LOWERLEG", "tibia diaphysis": "KNEE ANKLE FOOT"}
    strange = {"proximal tibia": "ANKLE FOOT HIP HAND", "proximal fibula": "ANKLE FOOT", "proximal femur": "KNEE ANKLE LOWERLEG",
               "distal femur": "HIP PELVIS ANKLE", "distal tibia": "KNEE FEMUR WRIST", "distal fibula": "KNEE PATELLA",
               "metacarpal": "HUMERUS SHOULDER FOOT", "scapula": "ELBOW FOREARM HAND", "clavicle": "ELBOW FOREARM",
               "distal radius": "HUMERUS SHOULDER", "proximal humerus": "FOREARM HAND", "finger phalanges": "FOREARM ELBOW"}
    for films, agrees in ((ordinary, True), (strange, False)):
        for bone, film in ((bone, film) for bone, all_films in films.items() for film in all_films.split()):
            assert bool(set(TABLE[owner[bone.upper()]]["groups"]) & set(TABLE[film]["groups"])) == agrees, f"{bone} on {film}"


def test_the_terms_and_codes_of_the_standard_agree():
    """Against PS3.16 Annex L as highdicom ships it: the same code, the same term."""
    highdicom = pytest.importorskip("highdicom")
    path = pathlib.Path(highdicom.__file__).parent / "_standard/anatomic_regions.json"
    if not path.exists():
        pytest.skip("this highdicom ships no table of anatomic regions")
    owner = {code.split("|")[0]: term for term, entry in TABLE.items() for code in entry.get("codes", [])}
    wrong = []
    for term, (scheme, code, *_) in json.loads(path.read_text()).items():
        assert scheme == "SCT"
        if term in TABLE and owner.get(code) != term:
            wrong.append((term, code, owner.get(code)))
    assert not wrong
