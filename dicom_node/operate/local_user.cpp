#include "dicom_node/operate/local_user.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <fstream>

namespace node::operate {

std::string local_user() {
  unsigned int id = ~0u;
  std::ifstream("/proc/self/loginuid") >> id;
  if (id == ~0u) id = ::getuid();
  const passwd* const user = ::getpwuid(id);
  return user != nullptr ? user->pw_name : fmt::format("user {}", id);
}

}  // namespace node::operate
