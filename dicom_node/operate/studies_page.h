// studies_page: the operator's page, as HTML. Nothing of a patient is shown but UIDs.
#pragma once

#include <string>

#include "dicom_node/operate/http_api.h"

namespace node::operate {

std::string studies_page(const NodeView& view);

}  // namespace node::operate
