-- Sends every radiograph to the node, as it arrives and whoever sent it; never what the node itself has sent.
-- The name "skelex" is that of DicomModalities in orthanc.json.

local radiographs = { CR = true, DX = true }

function OnStoredInstance(instanceId, tags, metadata, origin)
  if origin["RequestOrigin"] == "DicomProtocol" and origin["RemoteAet"] == "SKELEX" then
    return
  end
  if radiographs[tags["Modality"]] then
    SendToModality(instanceId, "skelex")
  end
end
