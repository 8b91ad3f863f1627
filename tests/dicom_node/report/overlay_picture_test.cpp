#include "dicom_node/report/overlay_picture.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/dicom_node/report/made_study.h"

namespace node::report {
namespace {

object::GrayImage grey(int rows, int columns, std::uint8_t value = 60) {
  return {rows, columns, std::vector<std::uint8_t>(static_cast<std::size_t>(rows) * columns, value)};
}

OverlayText text() {
  return {"AI result - not for clinical use", {{"Fracture 0.83 certain", Level::kCertain}}, {"model 1"}};
}

int brightness(Colour colour) { return colour[0] + colour[1] + colour[2]; }

struct Point {
  double y = 0, x = 0;
};

// The middle of all pixels of the picture that are as hot as its hottest.
Point hottest(const OverlayPicture& overlay) {
  int best = -1, count = 0;
  Point sum;
  for (int y = 0; y < overlay.picture.height; ++y) {
    for (int x = 0; x < overlay.picture.width; ++x) {
      const int value = brightness(overlay.image.at(overlay.picture.y + y, overlay.picture.x + x));
      if (value > best) {
        best = value;
        sum = {};
        count = 0;
      }
      if (value == best) {
        sum.y += y;
        sum.x += x;
        ++count;
      }
    }
  }
  return {sum.y / count, sum.x / count};
}

TEST(OverlayPicture, PeakLiesWhereTheBrightPatchWasPlanted) {
  // Off the diagonal, so that a transposed or mirrored map shows; several aspect ratios, so that a map drawn with its
  // own does.
  for (const auto& [rows, columns] : {std::pair{400, 300}, {300, 900}, {2048, 500}, {100, 120}}) {
    const auto overlay = draw_overlay(grey(rows, columns), made::patch_at(56, 168, 0.1f), 0.1, text());
    ASSERT_TRUE(overlay.ok()) << overlay.status().message();
    EXPECT_EQ(overlay->picture.width, columns);
    EXPECT_EQ(overlay->picture.height, rows);
    const Point peak = hottest(*overlay);
    EXPECT_NEAR(peak.y / rows, 56 / 224.0, 0.01) << rows << "x" << columns;
    EXPECT_NEAR(peak.x / columns, 168 / 224.0, 0.01) << rows << "x" << columns;
  }
}

TEST(OverlayPicture, TheLineBetweenHalvesIsDrawnWhereAFilmIsReadByHalves) {
  OverlayText halves = text();
  const inference::AnomalyMap none = made::patch_at(56, 168, 0);
  const auto whole = draw_overlay(grey(400, 600), none, 0.1, halves);
  halves.halves = true;
  const auto split = draw_overlay(grey(400, 600), none, 0.1, halves);
  ASSERT_TRUE(whole.ok() && split.ok());
  EXPECT_EQ(whole->image.at(5, 300), whole->image.at(5, 100));
  EXPECT_NE(split->image.at(5, 300), whole->image.at(5, 300));
  for (const int x : {100, 290, 310, 500}) EXPECT_EQ(split->image.at(5, x), whole->image.at(5, x)) << x;
  int marked_left = 0, marked_right = 0;  // R and L, at the foot.
  for (int y = 360; y < 400; ++y) {
    for (int x = 0; x < 600; ++x) {
      if (split->image.at(y, x) != whole->image.at(y, x)) ++(x < 299 ? marked_left : marked_right);
    }
  }
  EXPECT_GT(marked_left, 100);
  EXPECT_GT(marked_right, 100);
}

TEST(OverlayPicture, SameErrorHasSameColourInEveryPicture) {
  // One picture has nothing hotter than 0.03, the other has: a stretched scale would colour them differently.
  inference::AnomalyMap quiet = made::patch_at(56, 168, 0.03f), loud = quiet;
  const inference::AnomalyMap hot = made::patch_at(168, 56, 0.1f);
  for (std::size_t i = 0; i < loud.values.size(); ++i) loud.values[i] = std::max(loud.values[i], hot.values[i]);
  const auto a = draw_overlay(grey(224, 224), quiet, 0.1, text()), b = draw_overlay(grey(224, 224), loud, 0.1, text());
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(a->image.at(56, 168), b->image.at(56, 168));
  EXPECT_EQ(a->image.at(56, 168), blend(60, 0.3));
  EXPECT_NE(b->image.at(168, 56), b->image.at(56, 168));
}

inference::AnomalyMap calibrated(const inference::AnomalyMap& map) {
  object::FindingRecord finding = made::anomaly();
  finding.prediction.map = map;
  made::calibrate(finding);
  return finding.prediction.map;
}

TEST(OverlayPicture, CalibratedSameErrorOfOneBodyPartHasSameColourInEveryPicture) {
  // Patches of one error, in other places of pictures that differ elsewhere: a scale stretched to a picture, or one by
  // ranks within it, would colour them differently.
  inference::AnomalyMap a = made::patch_at(56, 168, 0.03f), b = made::patch_at(120, 40, 0.03f);
  for (const int y : {168, 184, 200}) {
    for (const int x : {168, 184, 200}) {
      const inference::AnomalyMap hot = made::patch_at(y, x, 0.2f);
      for (std::size_t i = 0; i < b.values.size(); ++i) b.values[i] = std::max(b.values[i], hot.values[i]);
    }
  }
  const auto in_a = draw_overlay(grey(224, 224), calibrated(a), 0.1, text());
  const auto in_b = draw_overlay(grey(224, 224), calibrated(b), 0.1, text());
  ASSERT_TRUE(in_a.ok() && in_b.ok());
  EXPECT_EQ(in_a->image.at(56, 168), in_b->image.at(120, 40));
  EXPECT_EQ(in_b->image.at(184, 184), blend(60, 1.0)) << "above all normal patches";
  EXPECT_NE(in_b->image.at(184, 184), in_b->image.at(120, 40));

  // And all over a picture, whatever its size.
  inference::AnomalyMap flat = a;
  std::fill(flat.values.begin(), flat.values.end(), 0.03f);
  const Colour wanted = blend(60, static_cast<float>(percentile_share(90 + 0.6f * 9.9)));
  for (const auto& [rows, columns] : {std::pair{224, 224}, {300, 90}, {9, 7}}) {
    const auto picture = draw_overlay(grey(rows, columns), calibrated(flat), 0.1, text());
    ASSERT_TRUE(picture.ok());
    EXPECT_EQ(picture->image.at(0, 0), wanted);
    EXPECT_EQ(picture->image.at(rows - 1, columns / 2), wanted);
  }
}

TEST(OverlayPicture, CalibratedColoursFollowThePercentileAndNotMapScaleMax) {
  const inference::AnomalyMap map = calibrated(made::patch_at(56, 168, 0.03f));
  const auto a = draw_overlay(grey(224, 224), map, 0.1, text()), b = draw_overlay(grey(224, 224), map, 0.9, text());
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(a->image.pixels, b->image.pixels);
  const double percentile = 90 + 0.03 / 0.05 * 9.9;
  const Colour wanted = blend(60, percentile_share(percentile)), drawn = a->image.at(56, 168);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_NEAR(drawn[i], wanted[i], 12) << "between the middles of patches";
}

TEST(OverlayPicture, PercentileScaleGivesEachDecadeOfRarityAThird) {
  EXPECT_EQ(percentile_share(0), 0);
  EXPECT_NEAR(percentile_share(90), 1 / 3.0, 1e-9);
  EXPECT_NEAR(percentile_share(99), 2 / 3.0, 1e-9);
  EXPECT_NEAR(percentile_share(99.9), 1, 1e-9);
  EXPECT_EQ(percentile_share(100), 1);
  double before = 0;
  for (double percentile = 0; percentile <= 100; percentile += 0.05) {
    EXPECT_GE(percentile_share(percentile), before);
    before = percentile_share(percentile);
  }
}

TEST(OverlayPicture, LegendSaysWhichScaleItIs) {
  const inference::AnomalyMap map = made::patch_at(56, 168, 0.03f);
  const auto plain = draw_overlay(grey(300, 300), map, 0.1, text());
  const auto ranked = draw_overlay(grey(300, 300), calibrated(map), 0.1, text());
  ASSERT_TRUE(plain.ok() && ranked.ok());
  const Rectangle bar = ranked->colour_bar;
  EXPECT_EQ(ranked->image.at(bar.y, bar.x), blend(0, 1.0));
  bool differ = false;  // Beside the bar: the numbers of the scale.
  for (int y = bar.y; y < bar.y + bar.height; ++y) {
    for (int x = bar.x + bar.width + 2; x < ranked->image.columns; ++x)
      differ |= plain->image.at(y, x) != ranked->image.at(y, x);
  }
  EXPECT_TRUE(differ);
}

TEST(OverlayPicture, NoErrorLeavesTheRadiographUntouched) {
  object::GrayImage radiograph = grey(300, 200);
  for (std::size_t i = 0; i < radiograph.pixels.size(); ++i) radiograph.pixels[i] = static_cast<std::uint8_t>(i % 251);
  const auto overlay = draw_overlay(radiograph, made::patch_at(56, 168, 0.1f), 0.1, text());
  ASSERT_TRUE(overlay.ok());
  for (int y = 150; y < 300; ++y) {
    for (int x = 0; x < 200; ++x) {
      const std::uint8_t value = radiograph.pixels[static_cast<std::size_t>(y) * 200 + x];
      ASSERT_EQ(overlay->image.at(y, x), (Colour{value, value, value})) << y << "," << x;
    }
  }
}

TEST(OverlayPicture, ErrorsAboveTheScaleHaveItsHottestColour) {
  const auto overlay = draw_overlay(grey(224, 224), made::patch_at(56, 168, 0.7f), 0.1, text());
  ASSERT_TRUE(overlay.ok());
  EXPECT_EQ(overlay->image.at(56, 168), blend(60, 1.0));
}

TEST(OverlayPicture, ColourBarShowsTheColoursOfThePicture) {
  const auto overlay = draw_overlay(grey(600, 500), made::patch_at(56, 168, 0.1f), 0.1, text());
  ASSERT_TRUE(overlay.ok());
  const Rectangle bar = overlay->colour_bar;
  EXPECT_GE(bar.x, overlay->picture.width) << "it must not lie over the anatomy";
  EXPECT_EQ(overlay->image.at(bar.y, bar.x), blend(0, 1.0));
  EXPECT_EQ(overlay->image.at(bar.y + bar.height - 1, bar.x), blend(0, 0.0));
  EXPECT_EQ(overlay->image.at(bar.y + bar.height - 1, bar.x + bar.width - 1), blend(255, 0.0));
}

TEST(OverlayPicture, HotGoesFromBlackOverRedAndYellowToWhite) {
  EXPECT_EQ(hot_colour(0), (Colour{0, 0, 0}));
  EXPECT_EQ(hot_colour(0.365079), (Colour{255, 0, 0}));
  EXPECT_EQ(hot_colour(0.746032), (Colour{255, 255, 0}));
  EXPECT_EQ(hot_colour(1), (Colour{255, 255, 255}));
}

TEST(OverlayPicture, CanvasHasRoomForTextAtAnySizeOfTheRadiograph) {
  for (const auto& [rows, columns] : {std::pair{1, 1}, {2048, 2048}, {1, 2048}, {2048, 1}, {300, 200}}) {
    const auto overlay = draw_overlay(grey(rows, columns), made::patch_at(56, 168, 0.1f), 0.1, text());
    ASSERT_TRUE(overlay.ok());
    EXPECT_GE(overlay->image.columns, 640);
    EXPECT_GE(overlay->image.columns, columns);
    EXPECT_GT(overlay->image.rows, rows);
    EXPECT_EQ(overlay->image.pixels.size(), static_cast<std::size_t>(overlay->image.rows) * overlay->image.columns * 3);
  }
}

TEST(OverlayPicture, DisclaimerStandsOutBelowThePicture) {
  OverlayText other = text();
  other.disclaimer = "Forschung: nicht f\u00fcr die Diagnose";
  const auto a = draw_overlay(grey(300, 300), made::patch_at(56, 168, 0.1f), 0.1, text());
  const auto b = draw_overlay(grey(300, 300), made::patch_at(56, 168, 0.1f), 0.1, other);
  ASSERT_TRUE(a.ok() && b.ok());
  int amber = 0, first_difference = -1;
  for (int y = 0; y < a->image.rows; ++y) {
    for (int x = 0; x < a->image.columns; ++x) {
      const Colour colour = a->image.at(y, x);
      amber += colour == Colour{255, 191, 0};
      if (first_difference < 0 && y < b->image.rows && colour != b->image.at(y, x)) first_difference = y;
    }
  }
  EXPECT_GT(amber, a->image.columns * 14) << "a band as wide as the canvas";
  EXPECT_GT(first_difference, a->picture.height) << "its text is drawn, and not over the picture";
}

TEST(OverlayPicture, TextOfAnotherScriptIsDrawn) {
  OverlayText greek = text();
  greek.findings = {{"\u039a\u03ac\u03c4\u03b1\u03b3\u03bc\u03b1 0.83", {}}};
  OverlayText none = text();
  none.findings = {{"", {}}};
  const auto a = draw_overlay(grey(300, 300), made::patch_at(56, 168, 0.1f), 0.1, greek);
  const auto b = draw_overlay(grey(300, 300), made::patch_at(56, 168, 0.1f), 0.1, none);
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_NE(a->image.pixels, b->image.pixels);
}

// The rightmost column below the picture that is not background; the band of the disclaimer goes from edge to edge.
int last_column_drawn(const OverlayPicture& overlay) {
  int last = 0;
  for (int y = overlay.picture.height; y < overlay.image.rows; ++y) {
    if (brightness(overlay.image.at(y, 0)) > 150) continue;
    for (int x = 0; x < overlay.image.columns; ++x)
      if (brightness(overlay.image.at(y, x)) > 150) last = std::max(last, x);
  }
  return last;
}

TEST(OverlayPicture, NothingIsCutOffHoweverLongTheTexts) {
  const std::string word(200, 'W');  // No place to break it but between letters.
  OverlayText longest{word + " " + word, {{word, Level::kCertain}}, {word, word}};
  for (int i = 0; i < 40; ++i) longest.findings.push_back({"Finding number " + std::to_string(i), Level::kNegative});
  for (const auto& [rows, columns] : {std::pair{300, 200}, {400, 1536}, {1536, 1200}}) {
    const auto overlay = draw_overlay(grey(rows, columns), made::patch_at(56, 168, 0.1f), 0.1, longest);
    ASSERT_TRUE(overlay.ok());
    EXPECT_LT(last_column_drawn(*overlay), overlay->image.columns - 4) << rows << "x" << columns;
    for (int x = 0; x < overlay->image.columns; ++x)
      for (int y = overlay->image.rows - 4; y < overlay->image.rows; ++y)
        ASSERT_LT(brightness(overlay->image.at(y, x)), 80) << "a margin below the last line";
  }
}

TEST(OverlayPicture, NotesStandBelowTheFindings) {
  for (const int columns : {300, 1536}) {  // Below each other, and beside the small print.
    const auto with_notes = [&](std::vector<std::string> notes) {
      OverlayText noted = text();
      noted.notes = std::move(notes);
      return draw_overlay(grey(300, columns), made::patch_at(56, 168, 0.1F), 0.1, noted);
    };
    const auto without = with_notes({}), with = with_notes({std::string("out of scope: one"), "two", "three", "four"});
    ASSERT_TRUE(with.ok());
    EXPECT_GT(with->image.rows, without->image.rows + 20);
    int amber = 0;
    for (int y = without->image.rows - 4; y < with->image.rows; ++y)
      for (int x = 0; x < with->image.columns; ++x) amber += with->image.at(y, x) == Colour{255, 191, 0} ? 1 : 0;
    EXPECT_TRUE(columns == 300 || amber > 10) << amber;
  }
}

TEST(OverlayPicture, ManyFindingsStandInColumnsWhereThereIsRoom) {
  const auto rows_with = [](int findings) {
    OverlayText many = text();
    many.findings.clear();
    for (int i = 0; i < findings; ++i) many.findings.push_back({"Finding " + std::to_string(i), Level::kNegative});
    const auto overlay = draw_overlay(grey(400, 1536), made::patch_at(56, 168, 0.1f), 0.1, many);
    return overlay.ok() ? overlay->image.rows : 0;
  };
  const int five = rows_with(6) - rows_with(1);
  EXPECT_GT(five, 0);
  EXPECT_LT(rows_with(30) - rows_with(1), 15 * five / 5) << "not one below the other";
}

TEST(OverlayPicture, WhatIsCertainIsBrighterThanWhatIsNegative) {
  const auto brightest = [](Level level) {
    OverlayText one{"x", {{"Fracture", level}}, {}};
    const auto overlay = draw_overlay(grey(300, 300), made::patch_at(56, 168, 0.1f), 0.1, one);
    int most = 0;
    for (int y = overlay->picture.height + 50; y < overlay->image.rows; ++y)
      for (int x = 0; x < overlay->image.columns; ++x) most = std::max(most, brightness(overlay->image.at(y, x)));
    return most;
  };
  EXPECT_GT(brightest(Level::kCertain), brightest(Level::kDoubtful));
  EXPECT_GT(brightest(Level::kDoubtful), brightest(Level::kNegative) + 100);
}

TEST(Canvas, ScriptsOfTheInstalledFontsAreDrawnAndOthersSaid) {
  EXPECT_EQ(missing_characters("Fracture \u00e9\u00fc\u0159 \u041f\u0435\u0440\u0435\u043b\u043e\u043c "
                               "\u039a\u03ac\u03c4\u03b1\u03b3\u03bc\u03b1\n"),
            "")
      << "Latin with accents, Cyrillic, Greek";
  EXPECT_EQ(missing_characters("a\U0010FFFDb\U0010FFFDc"), "\U0010FFFD") << "a character for private use";
}

TEST(Canvas, ChineseJapaneseAndKoreanAreDrawnWhereTheirFontIsInstalled) {
  const std::string all = "\u8a3a\u65ad\u306b \u4ec5\u4f9b\u7814\u7a76 \uc5f0\uad6c\uc6a9";
  constexpr std::size_t kSpaces = 2;
  if (missing_characters(all).size() == all.size() - kSpaces)  // Every one: no such font. Some: a mistake of ours.
    GTEST_SKIP() << "no font of these scripts here (Debian: fonts-wqy-microhei)";
  EXPECT_EQ(missing_characters(all), "");
}

// A box that says U+10FFFD tells a reader nothing.
TEST(Canvas, AMissingCharacterIsDrawnAsAQuestionMark) {
  const auto drawn = [](const std::string& what) {
    Canvas canvas(40, 200, {0, 0, 0});
    canvas.text(what, {.size_px = 20}, 2, 2, 190);
    return canvas.image().pixels;
  };
  EXPECT_EQ(drawn("a\U0010FFFDb"), drawn("a?b"));
  EXPECT_EQ(drawn("a\xff"), drawn("a\uFFFD")) << "not UTF-8";
  EXPECT_EQ(text_width("\U0010FFFD", {}), text_width("?", {}));
}

TEST(OverlayPicture, SameCallGivesSameBytes) {
  const auto a = draw_overlay(grey(400, 300), made::patch_at(56, 168, 0.1f), 0.1, text());
  const auto b = draw_overlay(grey(400, 300), made::patch_at(56, 168, 0.1f), 0.1, text());
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(a->image.pixels, b->image.pixels);
}

TEST(OverlayPicture, RefusesWhatCannotBeDrawn) {
  const inference::AnomalyMap map = made::patch_at(56, 168, 0.1f);
  EXPECT_EQ(draw_overlay({}, map, 0.1, text()).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(draw_overlay(grey(10, 10), {}, 0.1, text()).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(draw_overlay(grey(10, 10), map, 0.0, text()).status().code(), StatusCode::kInvalidArgument);
  inference::AnomalyMap wrong = map;
  wrong.values.pop_back();
  EXPECT_EQ(draw_overlay(grey(10, 10), wrong, 0.1, text()).status().code(), StatusCode::kInvalidArgument);
  wrong = map;
  wrong = calibrated(map);
  wrong.patch_size = 15;
  EXPECT_EQ(draw_overlay(grey(10, 10), wrong, 0.1, text()).status().code(), StatusCode::kInvalidArgument);
  wrong = map;
  wrong.values[7] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(draw_overlay(grey(10, 10), wrong, 0.1, text()).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace node::report
