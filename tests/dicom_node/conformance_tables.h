// The tables of dicom_node/CONFORMANCE.md, each behind a line "<!-- table: NAME -->", for the tests that hold them
// against the code. A test that fails prints the table as it has to be.
#pragma once

#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

namespace node::conformance {

inline std::string statement() {
  std::ifstream file(NODE_SOURCE_DIR "/dicom_node/CONFORMANCE.md");
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// The rows of a table, without its head.
inline std::string table_of(const std::string& name) {
  const std::string text = statement(), mark = "<!-- table: " + name + " -->\n";
  const auto at = text.find(mark);
  if (at == std::string::npos) return "no table: " + name;
  std::istringstream lines(text.substr(at + mark.size()));
  std::string line, rows;
  for (int number = 0; std::getline(lines, line) && line.starts_with("|"); ++number) {
    if (number >= 2) rows += line + "\n";
  }
  return rows;
}

}  // namespace node::conformance
