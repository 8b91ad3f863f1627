#include "dicom_node/object/said_once.h"

#include <spdlog/spdlog.h>

namespace node::object {

void SaidOnce::failed(const Status& why) {
  if (failing_.exchange(true)) return;
  spdlog::error("event={0}_failed{1} reason=\"{2}\" note=\"tried again; event={0}_works says when it is over\"", event_,
                fields_, why.message());
}

void SaidOnce::works() {
  if (failing_.exchange(false)) spdlog::info("event={}_works{}", event_, fields_);
}

}  // namespace node::object
