#include "dicom_node/operate/http_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <fstream>

namespace node::operate {
namespace {

constexpr std::size_t kTokenMin = 16, kNameMax = 64;

std::string trimmed(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(" \t\r"), end = text.find_last_not_of(" \t\r");
  return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}

bool is_printable(const std::string& text, char from) {
  return std::all_of(text.begin(), text.end(), [from](char c) { return c >= from && c <= '~'; });
}

// What is wrong with a line, in words; empty: nothing.
std::string problem(const NamedToken& line, const std::vector<NamedToken>& before) {
  if (line.name.empty() || line.token.empty()) return "\"name: token\" is wanted";
  if (line.name.size() > kNameMax || !is_printable(line.name, ' ') ||
      line.name.find_first_of("\"'\\") != std::string::npos) {
    return "a name is up to 64 characters of ASCII, without quotes and backslashes";
  }
  if (line.name == kSharedTokenName) return "the name http stands for the token of http.token_file";
  if (line.name == kNobodyName) return "the name anonymous stands for whoever shows no token";
  if (line.token.size() < kTokenMin) return "a token has at least 16 characters";
  if (!is_printable(line.token, '!')) return "a token is printable ASCII without spaces";
  for (const NamedToken& one : before) {
    if (one.name == line.name) return "the name is that of a line before";
    if (one.token == line.token) return "the token is another's too, so it would not say who asks";
  }
  return "";
}

}  // namespace

Result<std::string> read_token(const config::HttpConfig& config) {
  std::string token;
  if (config.token_file.empty()) return token;
  std::ifstream file(config.token_file);
  std::getline(file, token);
  while (!token.empty() && (token.back() == '\r' || token.back() == ' ')) token.pop_back();
  if (token.empty()) return invalid_argument("http.token_file " + config.token_file + ": cannot be read, or is empty");
  return token;
}

Result<std::vector<NamedToken>> read_tokens(const config::HttpConfig& config) {
  std::vector<NamedToken> tokens;
  NODE_ASSIGN_OR_RETURN(const std::string shared, read_token(config));
  boost::system::error_code error;
  const auto bound = boost::asio::ip::make_address(config.bind, error);
  if (!shared.empty() && shared.size() < kTokenMin && !bound.is_loopback()) {
    return invalid_argument(
        fmt::format("http.token_file {}: elsewhere than on loopback a token has at least {} characters",
                    config.token_file, kTokenMin));
  }
  if (!shared.empty()) tokens.push_back({kSharedTokenName, shared});
  if (config.tokens_file.empty()) return tokens;
  std::ifstream file(config.tokens_file);
  const std::size_t before = tokens.size();
  int number = 0;
  for (std::string text; std::getline(file, text);) {
    ++number;
    text = trimmed(text);
    if (text.empty() || text.front() == '#') continue;
    const std::size_t colon = std::min(text.find(':'), text.size());
    NamedToken line{trimmed(text.substr(0, colon)), trimmed(text.substr(std::min(colon + 1, text.size())))};
    if (const std::string wrong = problem(line, tokens); !wrong.empty()) {
      return invalid_argument(fmt::format("http.tokens_file {}:{}: {}", config.tokens_file, number, wrong));
    }
    tokens.push_back(std::move(line));
  }
  if (tokens.size() == before) {
    return invalid_argument("http.tokens_file " + config.tokens_file +
                            ": cannot be read, or names nobody: a line \"name: token\" for each person is wanted");
  }
  return tokens;
}

}  // namespace node::operate
