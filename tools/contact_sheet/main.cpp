// skelex-contact-sheet: what came back for a set of radiographs, as words and as one picture.
//
// Reads only what a PACS would hold: the originals that were sent and the SR and SC objects that were received. So it
// shows what arrived, not what the node meant to send.
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "dicom_node/object/image_loader.h"
#include "dicom_node/object/part10.h"
#include "dicom_node/report/contact_sheet.h"
#include "dicom_node/report/overlay_picture.h"

namespace {

namespace fs = std::filesystem;
using node::report::RgbImage;

struct Received {
  std::string sr, sc;  // Paths.
  RgbImage overlay;
  std::vector<std::string> lines;  // Findings, as the report says them.
};

std::string text_of(DcmItem& item, const DcmTagKey& tag) {
  OFString value;
  item.findAndGetOFStringArray(tag, value);
  return value.c_str();
}

// The code value and meaning of a one-item code sequence.
std::pair<std::string, std::string> code_of(DcmItem& item, const DcmTagKey& sequence) {
  DcmItem* code = nullptr;
  if (item.findAndGetSequenceItem(sequence, code, 0).bad()) return {};
  return {text_of(*code, DCM_CodeValue), text_of(*code, DCM_CodeMeaning)};
}

template <typename Visit>
void for_each_item(DcmItem& item, const DcmTagKey& tag, const Visit& visit) {
  DcmSequenceOfItems* sequence = nullptr;
  if (item.findAndGetSequence(tag, sequence).bad() || sequence == nullptr) return;
  for (unsigned long i = 0; i < sequence->card(); ++i) visit(*sequence->getItem(i));
}

// One measurement group: which images it is of, and what it says.
struct Group {
  std::vector<std::string> images, lines;
  std::string finding;
};

std::string number_line(DcmItem& number, const std::string& finding) {
  std::string label = code_of(number, DCM_ConceptNameCodeSequence).second;
  for_each_item(number, DCM_ContentSequence, [&](DcmItem& child) {
    if (text_of(child, DCM_ValueType) == "CODE" && code_of(child, DCM_ConceptNameCodeSequence).first == "121071") {
      label = code_of(child, DCM_ConceptCodeSequence).second;
    }
  });
  std::string value, unit;
  for_each_item(number, DCM_MeasuredValueSequence, [&](DcmItem& measured) {
    value = text_of(measured, DCM_NumericValue);
    unit = code_of(measured, DCM_MeasurementUnitsCodeSequence).first;
  });
  const std::string what = label == "Probability" ? finding : label;
  return unit == "1" || unit.empty() ? fmt::format("{} {}", what, value) : fmt::format("{} {} {}", what, value, unit);
}

double number_of(DcmItem& number) {
  double value = 0;
  for_each_item(number, DCM_MeasuredValueSequence,
                [&](DcmItem& measured) { value = std::strtod(text_of(measured, DCM_NumericValue).c_str(), nullptr); });
  return value;
}

Group read_group(DcmItem& container) {
  Group group;
  for_each_item(container, DCM_ContentSequence, [&](DcmItem& child) {
    if (text_of(child, DCM_ValueType) == "CODE" && code_of(child, DCM_ConceptNameCodeSequence).first == "121071") {
      group.finding = code_of(child, DCM_ConceptCodeSequence).second;
    }
  });
  double highest = -1;  // Of several numbers, one per class, the highest speaks for the group.
  for_each_item(container, DCM_ContentSequence, [&](DcmItem& child) {
    const std::string type = text_of(child, DCM_ValueType);
    const bool is_peak = code_of(child, DCM_ConceptNameCodeSequence).first == "SKX-ANOM-PEAK";  // A place, no finding.
    if (type == "NUM" && !is_peak) {
      const double value = number_of(child);
      if (value > highest) group.lines = {number_line(child, group.finding)};
      highest = std::max(highest, value);
    }
    if (type == "IMAGE") {
      for_each_item(child, DCM_ReferencedSOPSequence, [&](DcmItem& reference) {
        group.images.push_back(text_of(reference, DCM_ReferencedSOPInstanceUID));
      });
    }
  });
  return group;
}

void read_groups(DcmItem& item, std::vector<Group>& groups) {
  for_each_item(item, DCM_ContentSequence, [&](DcmItem& child) {
    if (text_of(child, DCM_ValueType) != "CONTAINER") return;
    if (code_of(child, DCM_ConceptNameCodeSequence).first == "125007") {
      groups.push_back(read_group(child));
    } else {
      read_groups(child, groups);
    }
  });
}

std::vector<std::string> files_below(const std::string& folder) {
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::map<std::string, Received> read_received(const std::string& folder) {
  std::map<std::string, Received> by_source;
  std::vector<std::string> reports;
  for (const std::string& path : files_below(folder)) {
    DcmFileFormat file;
    if (!node::object::load_dataset(path, file, node::object::Extent::kWithPixelData).ok()) continue;
    DcmDataset& dataset = *file.getDataset();
    if (text_of(dataset, DCM_SOPClassUID) == UID_SecondaryCaptureImageStorage) {
      for_each_item(dataset, DCM_SourceImageSequence, [&](DcmItem& source) {
        Received& entry = by_source[text_of(source, DCM_ReferencedSOPInstanceUID)];
        entry.sc = path;
        Uint16 rows = 0, columns = 0;
        const Uint8* pixels = nullptr;
        unsigned long count = 0;
        dataset.findAndGetUint16(DCM_Rows, rows);
        dataset.findAndGetUint16(DCM_Columns, columns);
        if (dataset.findAndGetUint8Array(DCM_PixelData, pixels, &count).good() && count >= 3ul * rows * columns) {
          entry.overlay = {rows, columns, {pixels, pixels + 3ul * rows * columns}};
        }
      });
    } else if (text_of(dataset, DCM_Modality) == "SR") {
      std::vector<Group> groups;
      read_groups(dataset, groups);
      for (const Group& group : groups) {
        for (const std::string& image : group.images) {
          Received& entry = by_source[image];
          entry.sr = path;
          entry.lines.insert(entry.lines.end(), group.lines.begin(), group.lines.end());
        }
      }
    }
  }
  return by_source;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Shows what came back for a set of radiographs: one block of text each, and one picture of all."};
  std::string sent, received, picture;
  app.add_option("--sent", sent, "Folder of the radiographs that were sent")->required();
  app.add_option("--received", received, "Folder of the SR and SC objects that came back")->required();
  app.add_option("--out", picture, "PNG to write")->required();
  CLI11_PARSE(app, argc, argv);

  OFLog::configure(OFLogger::FATAL_LOG_LEVEL);
  node::object::register_codecs();
  const std::map<std::string, Received> results = read_received(received);
  std::vector<node::report::ContactSheetEntry> entries;
  int without = 0;
  for (const std::string& path : files_below(sent)) {
    auto header = node::object::read_instance_header(path);
    if (!header.ok()) continue;
    const auto found = results.find(header->sop_instance_uid);
    fmt::print("{}  {}{}\n", path, header->body_part_examined,
               header->view_position.empty() ? "" : ", " + header->view_position);
    if (found == results.end()) {
      fmt::print("    nothing came back\n");
      ++without;
      continue;
    }
    fmt::print("    {}\n    SR {}\n    SC {}\n", fmt::join(found->second.lines, "; "), found->second.sr,
               found->second.sc);
    auto image = node::object::load_image(path);
    if (!image.ok()) continue;
    // The radiograph lies at the top left of the overlay, at this size.
    const node::object::GrayImage drawn = node::object::make_preview(*image, node::report::kPictureLongSideMax);
    entries.push_back({.radiograph = drawn,
                       .overlay = found->second.overlay,
                       .overlay_picture = {0, 0, drawn.columns, drawn.rows},
                       .title = header->body_part_examined + " " + header->view_position,
                       .lines = found->second.lines});
  }
  auto sheet = node::report::draw_contact_sheet(entries, "SKELEX node: demonstration models",
                                                "AI result - not for clinical use");
  if (!sheet.ok()) {
    fmt::print(stderr, "skelex-contact-sheet: {}\n", sheet.status().message());
    return 1;
  }
  if (auto written = node::report::write_png(*sheet, picture); !written.ok()) {
    fmt::print(stderr, "skelex-contact-sheet: {}\n", written.message());
    return 1;
  }
  fmt::print("{} radiographs with results, {} without; contact sheet: {}\n", entries.size(), without, picture);
  return without == 0 ? 0 : 1;
}
