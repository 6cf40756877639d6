{{/*
Base of all names: the release, with the chart's name in it. A release called datamover or datamover-operator gives "datamover".
Names of Services begin with a letter, have no dots and 63 characters at most; what is cut is told apart by a hash of the whole.
*/}}
{{- define "datamover.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $release := .Release.Name | trimSuffix "-operator" | replace "." "-" -}}
{{- $full := ternary $release (printf "%s-%s" $release $name) (contains $name $release) -}}
{{- if not (regexMatch "^[a-z]" $full) -}}
{{- $full = printf "%s-%s" $name $release -}}
{{- end -}}
{{- if gt (len $full) 30 -}}
{{- $full = printf "%s-%s" ($full | trunc 21 | trimSuffix "-") ($full | sha256sum | trunc 8) -}}
{{- end -}}
{{- default $full .Values.fullnameOverride -}}
{{- end }}

{{/*
What follows the base in names of kinds without a namespace: nothing where the operator is installed as documented, else the
release's namespace, so that releases of one name in two namespaces do not share their ClusterRoles.
*/}}
{{- define "datamover.clusterSuffix" -}}
{{- if not (and (eq (include "datamover.fullname" .) "datamover") (eq .Release.Namespace "datamover-operator-system")) -}}
{{- printf "-%s" .Release.Namespace -}}
{{- end -}}
{{- end }}

{{/* Base of the operator's own ClusterRoles and their bindings. */}}
{{- define "datamover.clusterOperator" -}}
{{- printf "%s%s" (include "datamover.operator" .) (include "datamover.clusterSuffix" .) -}}
{{- end }}

{{/* Base of the ClusterRoles for people and for Prometheus. */}}
{{- define "datamover.clusterName" -}}
{{- printf "%s%s" (include "datamover.fullname" .) (include "datamover.clusterSuffix" .) -}}
{{- end }}

{{/* Base of the operator's own objects: datamover-operator */}}
{{- define "datamover.operator" -}}
{{- printf "%s-operator" (include "datamover.fullname" .) -}}
{{- end }}

{{/* The documented name of Deployment and service account: datamover-operator-controller-manager */}}
{{- define "datamover.manager" -}}
{{- printf "%s-controller-manager" (include "datamover.operator" .) -}}
{{- end }}

{{- define "datamover.metricsService" -}}
{{- printf "%s-metrics-service" (include "datamover.manager" . | trunc 47 | trimSuffix "-") -}}
{{- end }}

{{- define "datamover.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "datamover.manager" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.create=false needs serviceAccount.name: the rights would go to the account `default`, and so to every Pod of the namespace that names none" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{- define "datamover.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: operator
{{- end }}

{{/* The chart's own labels, which nothing replaces. */}}
{{- define "datamover.ownLabels" -}}
{{ include "datamover.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: datamover
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" | quote }}
{{- end }}

{{/* The labels of every object: the chart's own, and commonLabels. */}}
{{- define "datamover.labels" -}}
{{- $own := include "datamover.ownLabels" . | fromYaml -}}
{{- range $key, $_ := .Values.commonLabels -}}
{{- if hasKey $own $key -}}
{{- fail (printf "commonLabels may not have %s: the chart sets it" $key) -}}
{{- end -}}
{{- end -}}
{{ include "datamover.ownLabels" . }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The chart's labels and those of the values, which win. Takes a list: the context, and the values' labels. */}}
{{- define "datamover.labelsWith" -}}
{{- merge (deepCopy (default dict (index . 1))) (include "datamover.labels" (index . 0) | fromYaml) | toYaml -}}
{{- end }}

{{/*
The same where something selects by the chart's own labels: those are not to be changed. Takes a list: the context, the values'
labels, and the path of those.
*/}}
{{- define "datamover.labelsAnd" -}}
{{- $own := include "datamover.ownLabels" (index . 0) | fromYaml -}}
{{- $path := index . 2 -}}
{{- range $key, $_ := index . 1 -}}
{{- if hasKey $own $key -}}
{{- fail (printf "%s may not have %s: the chart sets it, and selects by it" $path $key) -}}
{{- end -}}
{{- end -}}
{{- include "datamover.labelsWith" (list (index . 0) (index . 1)) -}}
{{- end }}

{{/*
An image by digest, or by tag. Takes a list: the context, and the image's values. With imageRegistry the first part of the repository goes
where it is a registry: it has a dot or a port, or is localhost.
*/}}
{{- define "datamover.image" -}}
{{- $image := index . 1 -}}
{{- $repository := $image.repository -}}
{{- with (index . 0).Values.imageRegistry -}}
{{- $repository = printf "%s/%s" . (regexReplaceAll "^(localhost|[^/]*[.:][^/]*)/" $repository "") -}}
{{- end -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (default (index . 0).Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end }}

{{/* What the operator is told of all movers, as JSON: the values that are not empty; nothing where all are. */}}
{{- define "datamover.moverDefaults" -}}
{{- $given := dict -}}
{{- range $key, $value := .Values.moverDefaults -}}
{{- if $value -}}
{{- $_ := set $given $key $value -}}
{{- end -}}
{{- end -}}
{{- with $given -}}
{{- toJson . -}}
{{- end -}}
{{- end }}

{{/* "true" where anything is done about DataVolumes. */}}
{{- define "datamover.dataVolumes" -}}
{{- if or .Values.dataVolumes.collection.enabled .Values.dataVolumes.population.enabled -}}true{{- end -}}
{{- end }}

{{/* "true" where the admission webhook is served. */}}
{{- define "datamover.webhook" -}}
{{- if and .Values.dataVolumes.webhook.enabled (include "datamover.dataVolumes" .) -}}true{{- end -}}
{{- end }}

{{/* Its Service, and the Secret with its certificate. */}}
{{- define "datamover.webhookService" -}}
{{- printf "%s-webhook-service" (include "datamover.operator" .) -}}
{{- end }}

{{/* By what the API server finds it. */}}
{{- define "datamover.webhookConfiguration" -}}
{{- printf "%s-webhook" (include "datamover.clusterOperator" .) -}}
{{- end }}

{{/* The subject of every binding. */}}
{{- define "datamover.subjects" -}}
- kind: ServiceAccount
  name: {{ include "datamover.serviceAccountName" . | quote }}
  namespace: {{ .Release.Namespace | quote }}
{{- end }}

{{/* What is needed of kinds that live in namespaces. The reason for each rule is in docs/permissions.md. */}}
{{- define "datamover.namespacedRules" -}}
- apiGroups: [datamover.a-cup-of.coffee]
  resources: [datamovers, datamoverrestores]
  verbs: [get, list, watch]
- apiGroups: [datamover.a-cup-of.coffee]
  resources: [datamovers/status, datamoverrestores/status]
  verbs: [update]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
- apiGroups: [snapshot.storage.k8s.io]
  resources: [volumesnapshots]
  verbs: [get, list, watch, create, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [get, create, patch]
- apiGroups: [""]
  resources: [events]
  verbs: [list]
{{- if .Values.replication.enabled }}
- apiGroups: [volsync.backube]
  resources: [replicationsources, replicationdestinations]
  verbs: [get, list, watch]
- apiGroups: [volsync.backube]
  resources: [replicationsources/status, replicationdestinations/status]
  verbs: [update]
- apiGroups: [snapshot.storage.k8s.io]
  resources: [volumesnapshots]
  verbs: [patch]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch]
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, list, watch, create]
- apiGroups: [rbac.authorization.k8s.io]
  resources: [roles, rolebindings]
  verbs: [get, list, watch, create]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [list, watch]
{{- end }}
{{- if .Values.hostedControlPlanes.enabled }}
- apiGroups: [hypershift.openshift.io]
  resources: [hostedcontrolplanes]
  verbs: [list, watch]
{{- end }}
{{- if include "datamover.dataVolumes" . }}
- apiGroups: [cdi.kubevirt.io]
  resources: [datavolumes]
  verbs: [get, list, watch, patch]
- apiGroups: [cdi.kubevirt.io]
  resources: [datavolumes/finalizers]
  verbs: [update]
{{- end }}
{{- if .Values.dataVolumes.collection.enabled }}
- apiGroups: [cdi.kubevirt.io]
  resources: [datavolumes]
  verbs: [delete]
- apiGroups: [kubevirt.io]
  resources: [virtualmachines]
  verbs: [get]
- apiGroups: [kubevirt.io]
  resources: [virtualmachines/finalizers]
  verbs: [update]
{{- end }}
{{- if .Values.dataVolumes.population.enabled }}
- apiGroups: [cdi.kubevirt.io]
  resources: [datavolumes]
  verbs: [create, delete]
- apiGroups: [cdi.kubevirt.io]
  resources: [datasources]
  verbs: [get, list, watch, create, patch]
- apiGroups: [cdi.kubevirt.io]
  resources: [dataimportcrons]
  verbs: [get, list, watch, patch]
- apiGroups: [cdi.kubevirt.io]
  resources: [datavolumes/status, datasources/status, dataimportcrons/status]
  verbs: [update]
- apiGroups: [""]
  resources: [secrets, services]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [list, watch]
{{- end }}
{{- end }}

{{/* What is needed of kinds that have no namespace. */}}
{{- define "datamover.clusterRules" -}}
- apiGroups: [storage.k8s.io]
  resources: [storageclasses]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [persistentvolumes]
  verbs: [get, list, watch]
- apiGroups: [snapshot.storage.k8s.io]
  resources: [volumesnapshotclasses]
  verbs: [list, watch]
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  resourceNames: [datamovers.datamover.a-cup-of.coffee, datamoverrestores.datamover.a-cup-of.coffee]
  verbs: [get, list, watch]
{{- if not .Values.clusterId }}
- apiGroups: [""]
  resources: [namespaces]
  resourceNames: [kube-system]
  verbs: [get]
{{- end }}
{{- if or .Values.restores.population.enabled .Values.replication.enabled }}
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  resourceNames: [volumepopulators.populator.storage.k8s.io]
  verbs: [get, list, watch]
- apiGroups: [populator.storage.k8s.io]
  resources: [volumepopulators]
  verbs: [get, list, watch, create]
{{- end }}
{{- if or .Values.restores.population.enabled .Values.replication.enabled .Values.dataVolumes.population.enabled }}
- apiGroups: [""]
  resources: [persistentvolumes]
  verbs: [patch]
{{- end }}
{{- if .Values.replication.enabled }}
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  resourceNames:
  - replicationsources.volsync.backube
  - replicationdestinations.volsync.backube
  verbs: [get, list, watch]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [b95b3104.backube]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [namespaces]
  {{- with .Values.watchNamespace }}
  resourceNames: [{{ . | quote }}]
  {{- end }}
  verbs: [get, list, watch]
{{- end }}
{{- if .Values.hostedControlPlanes.enabled }}
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  resourceNames: [backups.velero.io]
  verbs: [get, list, watch]
- apiGroups: [snapshot.storage.k8s.io]
  resources: [volumesnapshotcontents]
  verbs: [list, watch]
{{- end }}
{{- if include "datamover.dataVolumes" . }}
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  resourceNames: [datavolumes.cdi.kubevirt.io]
  verbs: [get, list, watch]
- apiGroups: [cdi.kubevirt.io]
  resources: [cdiconfigs, cdis]
  verbs: [get, list, watch]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [cdi-controller-leader-election-helper]
  verbs: [get, list, watch]
{{- end }}
{{- if .Values.dataVolumes.collection.enabled }}
- apiGroups: [""]
  resources: [namespaces]
  verbs: [get, list, watch]
- apiGroups: [kubevirt.io]
  resources: [kubevirts]
  verbs: [get, list, watch]
- apiGroups: [authorization.k8s.io]
  resources: [selfsubjectaccessreviews]
  verbs: [create]
{{- end }}
{{- if .Values.dataVolumes.population.enabled }}
- apiGroups: [apiextensions.k8s.io]
  resources: [customresourcedefinitions]
  resourceNames:
  - dataimportcrons.cdi.kubevirt.io
  - datasources.cdi.kubevirt.io
  - storageprofiles.cdi.kubevirt.io
  - cdiconfigs.cdi.kubevirt.io
  - cdis.cdi.kubevirt.io
  verbs: [get, list, watch]
- apiGroups: [cdi.kubevirt.io]
  resources: [storageprofiles]
  verbs: [get, list, watch, create]
- apiGroups: [cdi.kubevirt.io]
  resources: [cdiconfigs]
  verbs: [create, patch]
- apiGroups: [cdi.kubevirt.io]
  resources: [storageprofiles/status, cdiconfigs/status, cdis/status]
  verbs: [update]
{{- end }}
{{- if include "datamover.webhook" . }}
- apiGroups: [admissionregistration.k8s.io]
  resources: [mutatingwebhookconfigurations]
  resourceNames: [{{ include "datamover.webhookConfiguration" . | quote }}]
  verbs: [get, list, watch, update]
{{- if .Values.dataVolumes.population.enabled }}
- apiGroups: [authorization.k8s.io]
  resources: [subjectaccessreviews]
  verbs: [create]
{{- end }}
{{- end }}
{{- end }}
