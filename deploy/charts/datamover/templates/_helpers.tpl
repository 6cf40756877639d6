{{/* Base of all names: the release, with the chart's name in it. A release called datamover or datamover-operator gives "datamover". */}}
{{- define "datamover.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $release := .Release.Name | trimSuffix "-operator" -}}
{{- $full := ternary $release (printf "%s-%s" $release $name) (contains $name $release) -}}
{{- default $full .Values.fullnameOverride | trunc 30 | trimSuffix "-" -}}
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
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end }}

{{- define "datamover.selectorLabels" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "datamover.labels" -}}
{{ include "datamover.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: datamover
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* An image by digest, or by tag. Takes a list: the image's values, and the tag where they have none. */}}
{{- define "datamover.image" -}}
{{- $image := index . 0 -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default (index . 1) $image.tag) -}}
{{- end -}}
{{- end }}

{{/* The subject of every binding. */}}
{{- define "datamover.subjects" -}}
- kind: ServiceAccount
  name: {{ include "datamover.serviceAccountName" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{/* What is needed of kinds that live in namespaces. The reason for each rule is in docs/permissions.md. */}}
{{- define "datamover.namespacedRules" -}}
- apiGroups: [datamover.a-cup-of.coffee]
  resources: [datamovers]
  verbs: [get, list, watch]
- apiGroups: [datamover.a-cup-of.coffee]
  resources: [datamovers/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create, delete]
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
  resourceNames: [datamovers.datamover.a-cup-of.coffee]
  verbs: [get]
{{- if not .Values.clusterId }}
- apiGroups: [""]
  resources: [namespaces]
  resourceNames: [kube-system]
  verbs: [get]
{{- end }}
{{- end }}
