// page_files: the files of the pages, which are part of the program: no installed file to lose.
#pragma once

#include <string_view>

namespace node::operate {

struct PageFile {
  std::string_view path;  // "/app.js"; "/" is index.html.
  std::string_view type;  // "text/javascript; charset=utf-8"
  std::string_view content;
};

// Null: there is none of that path.
const PageFile* find_page_file(std::string_view path);

}  // namespace node::operate
